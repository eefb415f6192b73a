// The part that the pyramid's shaders share. One buffer holds the picture and all levels: RGB, three bytes a pixel, little
// endian; each level begins on a whole word. A pass makes one level from a larger one; each invocation writes one word.
struct Pass {
    // Start of the level that is read, in bytes.
    from_byte: u32,
    // Columns of the level that is read.
    from_width: u32,
    // Start of the level that is written, in bytes.
    to_byte: u32,
    // Columns of the level that is written.
    width: u32,
    // Bytes of the level that is written.
    length: u32,
    // Resizing only: start of the weights. Each output has the index of its first input, the number of inputs, `taps` weights.
    weights_at: u32,
    // Number of weights kept for each output.
    taps: u32,
    // Weights are multiples of 2^-shift.
    shift: u32,
}

@group(0) @binding(0) var<storage, read_write> pixels: array<u32>;
@group(0) @binding(1) var<storage, read> weights: array<i32>;
@group(0) @binding(2) var<uniform> job: Pass;

const WORKGROUP: u32 = 64u;

fn load(at: u32) -> u32 {
    return (pixels[at >> 2u] >> ((at & 3u) * 8u)) & 255u;
}

// Returns output `i`: the weighted sum of bytes that lie `step` apart, counted from `at`.
fn weighted(i: u32, at: u32, step: u32) -> u32 {
    let mine = job.weights_at + i * (job.taps + 2u);
    let first = at + u32(weights[mine]) * step;
    let count = u32(weights[mine + 1u]);
    var sum = 1i << (job.shift - 1u);
    for (var k = 0u; k < count; k++) {
        sum += weights[mine + 2u + k] * i32(load(first + k * step));
    }
    return u32(clamp(sum >> job.shift, 0i, 255i));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let word = id.x + id.y * groups.x * WORKGROUP;
    if (word * 4u >= job.length) {
        return;
    }
    var four = 0u;
    for (var i = 0u; i < 4u; i++) {
        let byte = word * 4u + i;
        if (byte < job.length) {
            four |= value(byte) << (i * 8u);
        }
    }
    pixels[(job.to_byte >> 2u) + word] = four;
}
