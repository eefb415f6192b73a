//! The command line program.

mod cli;
mod commands;

/// Buffers of a few hundred kilobytes come and go with every batch in training; glibc maps and unmaps each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
