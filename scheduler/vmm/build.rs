//! Builds the guest kernel that this crate embeds.

fn main() {
    // Fixed addresses, no relocation, no unwinding: the kernel's own linker script places it.
    let script =
        std::path::absolute("../../guest-runtime/kernel/kernel.ld").expect("the kernel is part of the source tree");
    let script_argument = format!("-Clink-arg=-Wl,-T,{}", script.display());
    let kernel = mayfly_guest_build::Guest {
        manifest_dir: "../../guest-runtime/kernel".into(),
        bin: "mayfly-kernel",
        features: &["image"],
        profile: "guest",
        rustflags: &[
            "-Cpanic=abort",
            "-Crelocation-model=static",
            "-Ctarget-feature=+crt-static",
            "-Clink-arg=-nostartfiles",
            "-Clink-arg=-nostdlib",
            "-Clink-arg=-static",
            "-Clink-arg=-Wl,--build-id=none",
            &script_argument,
        ],
        target_dir_name: "kernel",
    }
    .build();
    // Set by `.ci/svm` for tests on an emulated CPU.
    println!("cargo::rustc-check-cfg=cfg(mayfly_emulated_svm)");
    println!("cargo::rerun-if-changed=../../guest-runtime/abi/src");
    println!("cargo::rerun-if-changed=../../guest-runtime/kernel/kernel.ld");
    println!("cargo::rustc-env=MAYFLY_KERNEL={}", kernel.display());
}
