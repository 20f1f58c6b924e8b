//! Builds the program of all probes, which this crate embeds.

fn main() {
    let program = mayfly_guest_build::Guest {
        manifest_dir: "program".into(),
        bin: "probe",
        // Static, and not position-independent: static-pie crashes at start-up with the default linker.
        rustflags: &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"],
        target_dir_name: "probes",
        ..mayfly_guest_build::Guest::default()
    }
    .build();
    println!("cargo::rustc-env=MAYFLY_PROBE_PROGRAM={}", program.display());
}
