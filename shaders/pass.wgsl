// What all shaders of the pyramid share. One buffer holds the picture and all levels, RGB, three bytes a pixel, little
// endian; each level begins on a whole word. A pass makes one level out of one above it, a word an invocation.
struct Pass {
    // Where the level above begins, in bytes.
    from_byte: u32,
    // Its columns.
    from_width: u32,
    // Where this level begins, in bytes.
    to_byte: u32,
    // Its columns.
    width: u32,
    // Its bytes.
    length: u32,
    // Resizing only: where the weights begin; each output has its first input, how many inputs, and so many weights.
    weights_at: u32,
    // Weights of each output, used or not.
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

// The sum of bytes from `at` on, `step` apart, weighted by the weights of output `i`.
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
