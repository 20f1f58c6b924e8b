//! Python objects to JSON text, as `simplejson` writes it for AWS's runtime.

use rustpython_vm::{
    AsObject, PyObject, PyObjectRef, PyResult, VirtualMachine,
    builtins::{PyBytes, PyDict, PyFloat, PyInt, PyList, PyStr, PyTuple},
    common::wtf8::Wtf8,
    literal,
};
use std::io::Write;

/// Appends `value` to `text`. After an error, what was appended is of no use.
pub(crate) fn encode(value: &PyObject, text: &mut Vec<u8>, vm: &VirtualMachine) -> PyResult<()> {
    Encoder { text, open: Vec::new(), vm }.value(value)
}

struct Encoder<'a> {
    text: &'a mut Vec<u8>,
    /// The containers around the current value, by address. To find one that contains itself.
    open: Vec<*const PyObject>,
    vm: &'a VirtualMachine,
}

impl Encoder<'_> {
    fn value(&mut self, value: &PyObject) -> PyResult<()> {
        let ctx = &self.vm.ctx;
        if let Some(string) = value.downcast_ref::<PyStr>() {
            self.string(string.as_wtf8());
        } else if value.is(&ctx.none) {
            self.text.extend_from_slice(b"null");
        } else if value.is(&ctx.true_value) {
            self.text.extend_from_slice(b"true");
        } else if value.is(&ctx.false_value) {
            self.text.extend_from_slice(b"false");
        } else if let Some(integer) = value.downcast_ref::<PyInt>() {
            self.integer(integer);
        } else if let Some(float) = value.downcast_ref::<PyFloat>() {
            self.float(float.to_f64());
        } else if let Some(dict) = value.downcast_ref::<PyDict>() {
            return self.within(value, |encoder| encoder.dict(dict));
        } else if let Some(list) = value.downcast_ref::<PyList>() {
            let items = list.borrow_vec().to_vec();
            return self.within(value, |encoder| encoder.array(&items));
        } else if let Some(bytes) = value.downcast_ref::<PyBytes>() {
            let string = self.vm.state.codec_registry.decode_text(bytes.to_owned().into(), "utf-8", None, self.vm)?;
            self.string(string.as_wtf8());
        } else {
            return self.within(value, |encoder| encoder.unusual(value));
        }
        Ok(())
    }

    /// Named tuples, tuples, `Decimal`; all else has no JSON.
    fn unusual(&mut self, value: &PyObject) -> PyResult<()> {
        let vm = self.vm;
        // Whatever has it is taken for a named tuple.
        if value.downcast_ref_if_exact::<PyTuple>(vm).is_none()
            && let Some(as_dict) = vm.get_attribute_opt(value.to_owned(), "_asdict")?
            && as_dict.is_callable()
        {
            let fields = as_dict.call((), vm)?;
            let Some(fields) = fields.downcast_ref::<PyDict>() else {
                return Err(vm.new_type_error("_asdict() must return a dict".to_owned()));
            };
            return self.dict(fields);
        }
        if let Some(tuple) = value.downcast_ref::<PyTuple>() {
            return self.array(tuple.as_slice());
        }
        if let Some(number) = self.decimal(value)? {
            self.text.extend_from_slice(&number);
            return Ok(());
        }
        let class = value.class();
        Err(vm.new_type_error(format!("Object of type {} is not JSON serializable", class.name())))
    }

    /// The digits of a `Decimal`, if this is one. Without importing a module that the function did not import.
    fn decimal(&self, value: &PyObject) -> PyResult<Option<Vec<u8>>> {
        let vm = self.vm;
        let modules = vm.sys_module.get_attr("modules", vm)?;
        let Ok(module) = modules.get_item("decimal", vm) else { return Ok(None) };
        let class = module.get_attr("Decimal", vm)?;
        if !value.is_instance(&class, vm)? {
            return Ok(None);
        }
        // "-NaN" and "sNaN" are no numbers in any JSON.
        if vm.call_method(value, "is_nan", ())?.try_to_bool(vm)? {
            return Ok(Some(b"NaN".to_vec()));
        }
        Ok(Some(value.str(vm)?.as_bytes().to_vec()))
    }

    fn dict(&mut self, dict: &rustpython_vm::Py<PyDict>) -> PyResult<()> {
        self.text.push(b'{');
        for (i, (key, value)) in dict.items_vec().into_iter().enumerate() {
            if i > 0 {
                self.text.extend_from_slice(b", ");
            }
            self.key(&key)?;
            self.text.extend_from_slice(b": ");
            self.value(&value)?;
        }
        self.text.push(b'}');
        Ok(())
    }

    fn key(&mut self, key: &PyObjectRef) -> PyResult<()> {
        if key.downcastable::<PyStr>() || key.downcastable::<PyBytes>() {
            return self.value(key);
        }
        if !(self.vm.is_none(key) || key.downcastable::<PyInt>() || key.downcastable::<PyFloat>()) {
            let class = key.class();
            let message = format!("keys must be str, int, float, bool or None, not {}", class.name());
            return Err(self.vm.new_type_error(message));
        }
        self.text.push(b'"');
        self.value(key)?;
        self.text.push(b'"');
        Ok(())
    }

    fn array(&mut self, items: &[PyObjectRef]) -> PyResult<()> {
        self.text.push(b'[');
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.text.extend_from_slice(b", ");
            }
            self.value(item)?;
        }
        self.text.push(b']');
        Ok(())
    }

    /// Guards against values that contain themselves, and against more nesting than the stack bears.
    fn within(&mut self, container: &PyObject, inner: impl FnOnce(&mut Self) -> PyResult<()>) -> PyResult<()> {
        let address: *const PyObject = container;
        if self.open.contains(&address) {
            return Err(self.vm.new_value_error("Circular reference detected".to_owned()));
        }
        self.open.push(address);
        let vm = self.vm;
        let result = vm.with_recursion("while encoding a JSON object", || inner(self));
        self.open.pop();
        result
    }

    fn integer(&mut self, integer: &PyInt) {
        write!(self.text, "{}", integer.as_bigint()).expect("a vector takes everything");
    }

    fn float(&mut self, value: f64) {
        match value {
            value if value.is_nan() => self.text.extend_from_slice(b"NaN"),
            f64::INFINITY => self.text.extend_from_slice(b"Infinity"),
            f64::NEG_INFINITY => self.text.extend_from_slice(b"-Infinity"),
            value => self.text.extend_from_slice(literal::float::to_string(value).as_bytes()),
        }
    }

    fn string(&mut self, string: &Wtf8) {
        self.text.push(b'"');
        match string.as_str() {
            Ok(string) => self.characters(string),
            Err(_) => self.code_points(string),
        }
        self.text.push(b'"');
    }

    fn characters(&mut self, string: &str) {
        let mut rest = string.as_bytes();
        while let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            self.text.extend_from_slice(&rest[..plain]);
            self.escape(rest[plain]);
            rest = &rest[plain + 1..];
        }
        self.text.extend_from_slice(rest);
    }

    fn escape(&mut self, byte: u8) {
        let short = match byte {
            b'"' | b'\\' => byte,
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                write!(self.text, "\\u{byte:04x}").expect("a vector takes everything");
                return;
            }
        };
        self.text.extend_from_slice(&[b'\\', short]);
    }

    /// A string with lone surrogates, for which there is no UTF-8: those are escaped.
    fn code_points(&mut self, string: &Wtf8) {
        for code_point in string.code_points() {
            match code_point.to_char() {
                Some(character) => self.characters(character.encode_utf8(&mut [0; 4])),
                None => write!(self.text, "\\u{:04x}", code_point.to_u32()).expect("a vector takes everything"),
            }
        }
    }
}
