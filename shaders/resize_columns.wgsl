// Resizes the height, each column on its own. The same on the CPU: `twins::resize_columns`.
fn value(byte: u32) -> u32 {
    let row = job.width * 3u;
    return weighted(byte / row, job.from_byte + byte % row, row);
}
