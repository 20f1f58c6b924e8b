//! Stands in for the crate `libffi` in a static program.
//!
//! RustPython's `_ctypes` needs libffi to call foreign functions. In a static program there are none: no shared library
//! can be loaded, so there is no address to call. What is left of `ctypes` (structures, arrays, reading and writing
//! memory) needs only the types below. A call panics and says why.
//!
//! Only what RustPython 0.5 uses is here, with the names and signatures of libffi 5.

const NO_FOREIGN_FUNCTIONS: &str = "foreign functions cannot be called: the interpreter is a static program";

/// The C side of libffi, as far as its names are used.
pub mod low {
    /// What an integer result is widened to.
    #[expect(non_camel_case_types, reason = "libffi's name")]
    pub type ffi_arg = u64;

    /// A call interface. Nothing is ever called, so there is nothing in it.
    #[expect(non_camel_case_types, reason = "libffi's name")]
    #[derive(Debug)]
    pub struct ffi_cif;
}

/// The safe side of libffi, as far as its names are used.
pub mod middle {
    use crate::{NO_FOREIGN_FUNCTIONS, low};
    use core::{ffi::c_void, marker::PhantomData};

    /// A C type. RustPython compares types by the address of what [`Type::as_raw_ptr`] points to.
    #[derive(Clone, Copy, Debug)]
    pub struct Type(&'static RawType);

    /// What distinguishes one type from another: its address, for which it must have a size and be mutable.
    #[derive(Debug)]
    pub struct RawType(#[expect(dead_code, reason = "only its address matters")] core::sync::atomic::AtomicU8);

    macro_rules! types {
        ($($name:ident)*) => {
            impl Type {
                $(
                    /// The C type of this name.
                    #[must_use]
                    pub fn $name() -> Self {
                        static RAW: RawType = RawType(core::sync::atomic::AtomicU8::new(0));
                        Self(&RAW)
                    }
                )*
            }
        };
    }

    types!(void i8 u8 i16 u16 i32 u32 i64 u64 isize f32 f64 pointer aggregate);

    impl Type {
        /// C's `int`.
        #[must_use]
        pub fn c_int() -> Self {
            Self::i32()
        }

        /// A structure, whatever its fields are.
        pub fn structure(fields: impl IntoIterator<Item = Self>) -> Self {
            fields.into_iter().for_each(drop);
            Self::aggregate()
        }

        /// The identity of this type.
        #[must_use]
        pub fn as_raw_ptr(&self) -> *const RawType {
            self.0
        }
    }

    /// A borrowed argument of a call.
    #[derive(Debug)]
    pub struct Arg<'a>(PhantomData<&'a ()>);

    impl Arg<'_> {
        /// Borrows the argument.
        pub fn new<T: ?Sized>(_argument: &T) -> Self {
            Self(PhantomData)
        }
    }

    /// The address of a function.
    #[derive(Clone, Copy, Debug)]
    pub struct CodePtr(pub *mut c_void);

    impl CodePtr {
        /// The function at this address.
        #[must_use]
        pub fn from_ptr(address: *const c_void) -> Self {
            Self(address.cast_mut())
        }
    }

    /// What is known of a function before it is called.
    #[derive(Clone, Copy, Debug)]
    pub struct Cif;

    impl Cif {
        /// A function of these types.
        pub fn new(arguments: impl IntoIterator<Item = Type>, _result: Type) -> Self {
            arguments.into_iter().for_each(drop);
            Self
        }

        /// Panics: there is no function to call.
        ///
        /// # Safety
        ///
        /// Always safe; the signature is libffi's.
        pub unsafe fn call<R>(&self, _function: CodePtr, _arguments: &[Arg<'_>]) -> R {
            panic!("{NO_FOREIGN_FUNCTIONS}")
        }
    }

    /// A Python function as C code would see it. There is no C code to see it, so nothing is kept.
    #[derive(Debug)]
    pub struct Closure<'a> {
        code: unsafe extern "C" fn(),
        userdata: PhantomData<&'a ()>,
    }

    /// The function behind a [`Closure`].
    pub type Callback<U, R> = unsafe extern "C" fn(&low::ffi_cif, &mut R, *const *const c_void, &U);

    impl<'a> Closure<'a> {
        /// A closure that panics when it is called.
        pub fn new<U, R>(_cif: Cif, _callback: Callback<U, R>, _userdata: &'a U) -> Self {
            Self { code: refuse, userdata: PhantomData }
        }

        /// The address to call.
        #[must_use]
        pub fn code_ptr(&self) -> &unsafe extern "C" fn() {
            &self.code
        }
    }

    extern "C" fn refuse() {
        panic!("{NO_FOREIGN_FUNCTIONS}")
    }
}
