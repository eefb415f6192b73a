// Resizes the width, each row on its own. The same on the CPU: `twins::resize_rows`.
fn value(byte: u32) -> u32 {
    let pixel = byte / 3u;
    let y = pixel / job.width;
    return weighted(pixel % job.width, job.from_byte + y * job.from_width * 3u + byte % 3u, 3u);
}
