use mayfly_vmm::*;
use std::time::{Duration, Instant};
#[test]
fn echo() {
    let host = Host::new(kvm_ioctls::Kvm::new().unwrap()).unwrap();
    let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
    m.boot(&[], 128 << 20, 512 << 20).unwrap();
    let mut log = vec![];
    let r = m.run(0, Duration::from_secs(5), &mut log).unwrap();
    println!("{r:?}"); m.debug();
    for _ in 0..5 {
        let t = Instant::now();
        let n = m.mailbox().put_event(2, 0, b"{}", b"hello").unwrap();
        let r = m.run(n, Duration::from_secs(5), &mut log).unwrap();
        println!("{r:?} {:?} {:?}", m.mailbox().answer(), t.elapsed());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    m.save(&std::fs::File::create(&path).unwrap()).unwrap();
    let s = Snapshot::open(&path, &host.build()).unwrap();
    println!("{:?} {:?}", s.header(), s.runs());
    for _ in 0..3 {
        let t = Instant::now();
        let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
        let made = t.elapsed();
        m.bind(&s, None, &[], 256 << 20, 512 << 20).unwrap();
        let bound = t.elapsed();
        for _ in 0..3 {
            let n = m.mailbox().put_event(2, 0, b"{}", b"hello").unwrap();
            let t = Instant::now();
            let r = m.run(n, Duration::from_secs(5), &mut log).unwrap();
            println!("{r:?} {:?} {:?}", m.mailbox().answer(), t.elapsed());
            println!("{:?}", m.reset().unwrap());
        }
        println!("made {made:?} bound {bound:?}");
    }
}
#[test]
fn first() {
    let host = Host::new(kvm_ioctls::Kvm::new().unwrap()).unwrap();
    let mut m = Machine::new(&host, Mailbox::new().unwrap()).unwrap();
    m.boot(&[], 128 << 20, 512 << 20).unwrap();
    m.debug();
    let mut log = vec![];
    let r = m.run(0, Duration::from_millis(50), &mut log).unwrap();
    println!("{r:?}"); m.debug();
    println!("{:x?}", m.mailbox().guest_words());
}
