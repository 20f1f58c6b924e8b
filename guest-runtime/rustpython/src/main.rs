fn main() {
    let builder = rustpython_vm::Interpreter::builder(Default::default());
    let defs = rustpython_stdlib::stdlib_module_defs(&builder.ctx);
    let interp = builder
        .add_native_modules(&defs)
        .add_frozen_modules(rustpython_pylib::FROZEN_STDLIB)
        .build();
    let code = interp.run(|vm| {
        let src = std::env::args().nth(1).unwrap_or_default();
        let scope = vm.new_scope_with_main()?;
        vm.run_string(scope, &src, "<string>".to_owned()).map(drop)
    });
    std::process::exit(code as i32);
}
