use mayfly_vmm::*;
use std::path::Path;
use std::time::{Duration, Instant};
fn main() {
    let host = Host::new(kvm_ioctls::Kvm::new().unwrap()).unwrap();
    let args: Vec<String> = std::env::args().collect();
    let image = ImageFile::open(Path::new(&args[1])).unwrap();
    let mut log = vec![];
    let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
    m.mailbox().put_start(&[&args[2]], &["PATH=/bin", "LAMBDA_TASK_ROOT=/var/task"]).unwrap();
    m.boot(&[&image], 128 << 20, 512 << 20).unwrap();
    let t = Instant::now();
    let r = m.run(0, Duration::from_secs(20), &mut log).unwrap();
    println!("{r:?} {:?} log {:?}", t.elapsed(), String::from_utf8_lossy(&m.mailbox().take_log()));
    let path = Path::new("/tmp/bring/snap");
    m.save(&std::fs::File::create(path).unwrap()).unwrap();
    let base = Snapshot::open(path, &host.build()).unwrap();
    println!("runs {} bytes {}", base.runs().len(), base.data_bytes());
    if args.len() < 4 {
        let n = m.mailbox().put_event(2, 0, b"{}", b"hello").unwrap();
        println!(
            "{:?} {:?} {:?}",
            m.run(n, Duration::from_secs(5), &mut log).unwrap(),
            m.mailbox().answer(),
            String::from_utf8_lossy(&m.mailbox().take_log())
        );
        return;
    }
    let f = ImageFile::open(Path::new(&args[3])).unwrap();
    let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
    m.bind(&base, None, &[&image, &f], 128 << 20, 512 << 20, None).unwrap();
    let t = Instant::now();
    let n = m.mailbox().put_event(1, 0, br#"{"handler":"handler.handler","environment":{"A":"b","LAMBDA_TASK_ROOT":"/var/task"},"function_name":"f","function_version":"$LATEST","memory_limit_in_mb":"128","log_group_name":"g","log_stream_name":"s"}"#, b"").unwrap();
    println!("{:?} {:?}", m.run(n, Duration::from_secs(5), &mut log).unwrap(), t.elapsed());
    println!(
        "{:?} log {}",
        m.mailbox().answer().map(|a| (a.kind, String::from_utf8_lossy(&a.payload).into_owned())),
        String::from_utf8_lossy(&m.mailbox().take_log())
    );
    let path = Path::new("/tmp/bring/snap2");
    m.save(&std::fs::File::create(path).unwrap()).unwrap();
    let top = Snapshot::open(path, &host.build()).unwrap();
    println!("runs {} bytes {}", top.runs().len(), top.data_bytes());
    let mut ws = None;
    for round in 0..5 {
        let t0 = Instant::now();
        let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
        let t1 = Instant::now();
        m.bind(&base, Some(&top), &[&image, &f], 128 << 20, 512 << 20, ws.as_ref()).unwrap();
        let t2 = Instant::now();
        for i in 0..6 {
            let n = m.mailbox().put_event(2, 0, br#"{"request_id":"abc","deadline_ms":99999999999999,"invoked_function_arn":"arn","client_context":null,"identity":null,"trace_id":null,"tenant_id":null}"#, br#"{"name":"x"}"#).unwrap();
            let t = Instant::now();
            let r = m.run(n, Duration::from_secs(5), &mut log).unwrap();
            println!(
                "{:?} {:?} {:?} {:?}",
                t.elapsed(),
                r,
                m.mailbox().answer().map(|a| String::from_utf8_lossy(&a.payload).into_owned()),
                String::from_utf8_lossy(&m.mailbox().take_log())
            );
            if i == 0 && ws.is_none() && round == 1 {
                let w = m.working_set().unwrap();
                println!("{:?}", w.pages());
                ws = Some(w);
            }
            if i >= 3 {
                println!("{:?}", m.reset().unwrap());
            }
        }
        println!("create {:?} bind {:?}", t1 - t0, t2 - t1);
    }
}
