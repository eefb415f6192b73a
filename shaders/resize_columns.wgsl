// Other heights: each column on its own. Its CPU twin: `twins::resize_columns`.
fn value(byte: u32) -> u32 {
    let row = job.width * 3u;
    return weighted(byte / row, job.from_byte + byte % row, row);
}
