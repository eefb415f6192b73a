//! The program `facecascade`.

mod cli;
mod commands;

/// Allocates memory with mimalloc: training takes and frees buffers of some hundred kilobytes with every batch, and glibc
/// would ask the kernel for each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    #[cfg(all(feature = "gpu", target_os = "linux"))]
    keep_mesa_quiet();
    cli::run()
}

/// Turns off a layer of Mesa's Vulkan that looks for the desktop's GPU: where nobody is logged in, it prints an error.
#[cfg(all(feature = "gpu", target_os = "linux"))]
fn keep_mesa_quiet() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: no other thread runs yet that could read the environment at the same time.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
