//! From an event to its answer.
//!
//! ```text
//!            INIT ok
//!  waiting ───────────► ready ──┐ INVOKE: call the handler
//!     │                   ▲─────┘
//!     └── INIT failed ─► failed   INVOKE: the error of INIT again
//! ```
//!
//! What is raised and is an `Exception` is answered. Anything else (`SystemExit`, `KeyboardInterrupt`) ends the process, as
//! it ends any Python program; the platform makes an answer of its status.

use crate::{
    device::{Answer, AnswerKind, Event, EventDevice, EventKind},
    heap,
    json::{self, Undecoded},
};
use rustpython_vm::{
    AsObject, PyObjectRef, PyResult, VirtualMachine,
    builtins::{PyBaseExceptionRef, PyBytes, PyDictRef},
};
use std::io;

/// How far the function has come.
enum Function {
    Waiting,
    Ready { handler: PyObjectRef },
    Failed { error: PyObjectRef },
}

/// Serves events until there are no more, or until something is raised that ends the process.
pub(crate) fn serve(device: &mut EventDevice, vm: &VirtualMachine) -> PyResult<()> {
    let os_error = |error: io::Error| vm.new_os_error(format!("event device: {error}"));
    let runtime = Runtime::import(vm)?;
    let mut function = Function::Waiting;
    loop {
        let mut answer = device.take_answer();
        let Some(event) = device.next().map_err(os_error)? else { return Ok(()) };
        let kind = match event.kind {
            EventKind::Init => initialize(&runtime, &event, &mut function, &mut answer, vm)?,
            EventKind::Invoke => invoke(&runtime, &event, &function, &mut answer, vm)?,
        };
        runtime.flush_output(vm);
        device.send(kind, answer).map_err(os_error)?;
    }
}

fn initialize(
    runtime: &Runtime,
    event: &Event<'_>,
    function: &mut Function,
    answer: &mut Answer,
    vm: &VirtualMachine,
) -> PyResult<AnswerKind> {
    let meta = runtime.parse(event.meta, vm)?;
    match runtime.initialize.call((meta, event.is_restored), vm) {
        Ok(handler) => {
            *function = Function::Ready { handler };
            heap::fill_holes();
            Ok(AnswerKind::InitOk)
        }
        Err(exception) => {
            let error = runtime.describe(exception, vm.ctx.empty_str.to_owned().into(), false, vm)?;
            json::encode(&error, answer.payload(), vm)?;
            *function = Function::Failed { error };
            Ok(AnswerKind::Error)
        }
    }
}

fn invoke(
    runtime: &Runtime,
    event: &Event<'_>,
    function: &Function,
    answer: &mut Answer,
    vm: &VirtualMachine,
) -> PyResult<AnswerKind> {
    let handler = match function {
        Function::Ready { handler } => handler,
        Function::Failed { error } => {
            json::encode(error, answer.payload(), vm)?;
            return Ok(AnswerKind::Error);
        }
        Function::Waiting => return Err(vm.new_runtime_error("an invocation before INIT".to_owned())),
    };
    let meta: PyDictRef =
        runtime.parse(event.meta, vm)?.downcast().map_err(|_| vm.new_type_error("meta is no object"))?;
    let request_id = meta.get_item("request_id", vm)?;

    let mut is_marshalling = false;
    // Beginning may call code of the function, too: what it registered for restores.
    let outcome = runtime
        .begin
        .call((meta, event.is_restored), vm)
        .and_then(|context| handler.call((runtime.parse(event.payload, vm)?, context), vm))
        .and_then(|result| {
            is_marshalling = true;
            marshal(&result, answer.payload(), vm)
        });
    let Err(exception) = outcome else { return Ok(AnswerKind::Response) };

    answer.clear();
    let error = runtime.describe(exception, request_id, is_marshalling, vm)?;
    json::encode(&error, answer.payload(), vm)?;
    Ok(AnswerKind::Error)
}

/// Bytes are passed on as they are, as on Lambda; everything else becomes JSON.
fn marshal(result: &PyObjectRef, payload: &mut Vec<u8>, vm: &VirtualMachine) -> PyResult<()> {
    match result.downcast_ref::<PyBytes>() {
        Some(bytes) => {
            payload.extend_from_slice(bytes.as_bytes());
            Ok(())
        }
        None => json::encode(result, payload, vm),
    }
}

/// The functions of `guest-runtime/python/_mayfly/` that are called from here.
struct Runtime {
    initialize: PyObjectRef,
    begin: PyObjectRef,
    describe: PyObjectRef,
    unmarshal_slowly: PyObjectRef,
}

impl Runtime {
    fn import(vm: &VirtualMachine) -> PyResult<Self> {
        let module = vm.import("_mayfly", 0)?;
        vm.call_method(&module, "warm", ())?;
        Ok(Self {
            initialize: module.get_attr("initialize", vm)?,
            begin: module.get_attr("begin", vm)?,
            describe: module.get_attr("describe", vm)?,
            unmarshal_slowly: module.get_attr("unmarshal_slowly", vm)?,
        })
    }

    /// JSON to Python, by the standard library where the fast way does not do.
    fn parse(&self, text: &[u8], vm: &VirtualMachine) -> PyResult {
        let is_too_deep = match json::decode(text, vm) {
            Ok(value) => return Ok(value),
            Err(Undecoded::Raised(exception)) => return Err(exception),
            Err(Undecoded::TooDeep) => true,
            Err(Undecoded::Unusual) => false,
        };
        self.unmarshal_slowly.call((vm.ctx.new_bytes(text.to_vec()), is_too_deep), vm)
    }

    /// The error object for an exception. Fails if it is one that ends the process.
    fn describe(
        &self,
        exception: PyBaseExceptionRef,
        request_id: PyObjectRef,
        is_marshalling: bool,
        vm: &VirtualMachine,
    ) -> PyResult {
        if !exception.fast_isinstance(vm.ctx.exceptions.exception_type) {
            return Err(exception);
        }
        self.describe.call((exception, request_id, is_marshalling), vm)
    }

    /// Writes what is left of an unfinished line. A function may have replaced or closed its streams: no error of theirs
    /// may become one of the invocation.
    fn flush_output(&self, vm: &VirtualMachine) {
        for name in ["stdout", "stderr"] {
            if let Ok(stream) = vm.sys_module.get_attr(name, vm)
                && !vm.is_none(&stream)
            {
                drop(vm.call_method(&stream, "flush", ()));
            }
        }
    }
}
