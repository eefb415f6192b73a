//! The command line program.

mod cli;
mod commands;

/// Buffers of a few hundred kilobytes come and go with every batch in training; glibc maps and unmaps each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(all(feature = "gpu", target_os = "linux"))]
    keep_mesa_quiet();
    cli::run()
}

/// Where nobody is logged in, a layer of Mesa's Vulkan that looks for the desktop's GPU says so on stderr, as an error.
#[cfg(all(feature = "gpu", target_os = "linux"))]
fn keep_mesa_quiet() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: nothing else runs yet that could read the environment at the same time.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
