//! JSON text to Python objects.
//!
//! Only what is usual is read here. Whatever is not (integers beyond 64 bits, lone surrogates, NaN, and all that is not
//! JSON) is left to Python's own `json`, so that its results and its error messages are the only ones.

use rustpython_vm::{PyObjectRef, VirtualMachine, builtins::PyBaseExceptionRef};

/// Deeper nesting is refused, as CPython does with its limit of 1,000 calls. RustPython's `json` has none, and its stack
/// overflows at a few ten thousand.
const DEPTH_MAX: usize = 1_000;

/// Why there is no value.
pub(crate) enum Undecoded {
    /// Python's `json` is to be asked.
    Unusual,
    /// Nobody is to be asked.
    TooDeep,
    /// A Python exception, such as a lack of memory.
    Raised(PyBaseExceptionRef),
}

/// The Python object for a JSON text.
pub(crate) fn decode(text: &[u8], vm: &VirtualMachine) -> Decoded<PyObjectRef> {
    let decoded = std::str::from_utf8(text)
        .map_err(|_| Undecoded::Unusual)
        .and_then(|text| Decoder { text, position: 0, vm }.document());
    match decoded {
        Err(Undecoded::Unusual) if nesting(text) > DEPTH_MAX => Err(Undecoded::TooDeep),
        decoded => decoded,
    }
}

/// How deep brackets are nested in a text of which nothing is known.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            b'[' | b'{' if !is_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

type Decoded<T> = Result<T, Undecoded>;

struct Decoder<'a> {
    text: &'a str,
    /// Always at a character boundary.
    position: usize,
    vm: &'a VirtualMachine,
}

impl<'a> Decoder<'a> {
    fn document(&mut self) -> Decoded<PyObjectRef> {
        self.skip_whitespace();
        let value = self.value(0)?;
        self.skip_whitespace();
        if self.position == self.text.len() { Ok(value) } else { Err(Undecoded::Unusual) }
    }

    fn value(&mut self, depth: usize) -> Decoded<PyObjectRef> {
        let ctx = &self.vm.ctx;
        match self.peek().ok_or(Undecoded::Unusual)? {
            b'"' => Ok(ctx.new_str(self.string()?).into()),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b't' => self.literal("true", ctx.true_value.clone().into()),
            b'f' => self.literal("false", ctx.false_value.clone().into()),
            b'n' => self.literal("null", ctx.none()),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Undecoded::Unusual),
        }
    }

    fn object(&mut self, depth: usize) -> Decoded<PyObjectRef> {
        let dict = self.vm.ctx.new_dict();
        self.elements(b'}', depth, |decoder| {
            if decoder.peek() != Some(b'"') {
                return Err(Undecoded::Unusual);
            }
            let key = decoder.string()?;
            decoder.skip_whitespace();
            decoder.expect(b':')?;
            decoder.skip_whitespace();
            let value = decoder.value(depth)?;
            dict.set_item(&*key, value, decoder.vm).map_err(Undecoded::Raised)
        })?;
        Ok(dict.into())
    }

    fn array(&mut self, depth: usize) -> Decoded<PyObjectRef> {
        let mut items = Vec::new();
        self.elements(b']', depth, |decoder| {
            items.push(decoder.value(depth)?);
            Ok(())
        })?;
        Ok(self.vm.ctx.new_list(items).into())
    }

    /// What stands between two brackets, separated by commas.
    fn elements(&mut self, end: u8, depth: usize, mut element: impl FnMut(&mut Self) -> Decoded<()>) -> Decoded<()> {
        if depth > DEPTH_MAX {
            return Err(Undecoded::TooDeep);
        }
        self.position += 1;
        self.skip_whitespace();
        if self.peek() == Some(end) {
            self.position += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            self.skip_whitespace();
            if self.peek() == Some(end) {
                self.position += 1;
                return Ok(());
            }
            self.expect(b',')?;
            self.skip_whitespace();
        }
    }

    fn string(&mut self) -> Decoded<std::borrow::Cow<'a, str>> {
        self.position += 1;
        let mut unescaped: Option<String> = None;
        loop {
            let rest = &self.text[self.position..];
            let plain_bytes =
                rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)).ok_or(Undecoded::Unusual)?;
            let plain = &rest[..plain_bytes];
            self.position += plain_bytes + 1;
            match rest.as_bytes()[plain_bytes] {
                b'"' => {
                    return Ok(match unescaped {
                        None => plain.into(),
                        Some(text) => (text + plain).into(),
                    });
                }
                b'\\' => {
                    let text = unescaped.get_or_insert_default();
                    text.push_str(plain);
                    text.push(self.escape()?);
                }
                _ => return Err(Undecoded::Unusual),
            }
        }
    }

    /// What stands after a backslash.
    fn escape(&mut self) -> Decoded<char> {
        let byte = self.peek().ok_or(Undecoded::Unusual)?;
        self.position += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.code_unit()?;
                match char::from_u32(unit) {
                    Some(character) => character,
                    None => self.second_surrogate(unit)?,
                }
            }
            _ => return Err(Undecoded::Unusual),
        })
    }

    fn second_surrogate(&mut self, first: u32) -> Decoded<char> {
        self.expect(b'\\')?;
        self.expect(b'u')?;
        let second = self.code_unit()?;
        if !(0xd800..0xdc00).contains(&first) || !(0xdc00..0xe000).contains(&second) {
            return Err(Undecoded::Unusual);
        }
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(Undecoded::Unusual)
    }

    fn code_unit(&mut self) -> Decoded<u32> {
        let digits = self.text.get(self.position..self.position + 4).ok_or(Undecoded::Unusual)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Undecoded::Unusual);
        }
        self.position += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Undecoded::Unusual)
    }

    fn number(&mut self) -> Decoded<PyObjectRef> {
        let start = self.position;
        if self.peek() == Some(b'-') {
            self.position += 1;
        }
        let integer = self.digits()?;
        if integer.len() > 1 && integer.starts_with('0') {
            return Err(Undecoded::Unusual);
        }
        let mut is_integer = true;
        if self.peek() == Some(b'.') {
            is_integer = false;
            self.position += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            is_integer = false;
            self.position += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.position += 1;
            }
            self.digits()?;
        }
        let number = &self.text[start..self.position];
        let ctx = &self.vm.ctx;
        if is_integer {
            number.parse::<i64>().map(|value| ctx.new_int(value).into()).map_err(|_| Undecoded::Unusual)
        } else {
            number.parse::<f64>().map(|value| ctx.new_float(value).into()).map_err(|_| Undecoded::Unusual)
        }
    }

    /// At least one digit.
    fn digits(&mut self) -> Decoded<&'a str> {
        let rest = &self.text[self.position..];
        let count = rest.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.position += count;
        if count == 0 { Err(Undecoded::Unusual) } else { Ok(&rest[..count]) }
    }

    fn literal(&mut self, name: &str, value: PyObjectRef) -> Decoded<PyObjectRef> {
        if !self.text[self.position..].starts_with(name) {
            return Err(Undecoded::Unusual);
        }
        self.position += name.len();
        Ok(value)
    }

    fn skip_whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Decoded<()> {
        if self.peek() != Some(byte) {
            return Err(Undecoded::Unusual);
        }
        self.position += 1;
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }
}
