//! Has the program compiled anew when its Python half changes, which `py_freeze!` reads behind cargo's back.

fn main() {
    println!("cargo::rerun-if-changed=../python");
}
