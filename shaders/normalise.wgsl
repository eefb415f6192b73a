// Normalises pixels for the nets, one vector a pixel, all levels of the pyramid behind each other. One invocation a pixel.
// MIDDLE and SPREAD are put in front (src/nets/gpu/mod.rs).
struct Level {
    // Start of the level's pixels, in bytes.
    byte: u32,
    // Index of the level's first pixel among those of all levels.
    first: u32,
    // Number of the level's pixels.
    count: u32,
}

@group(0) @binding(0) var<storage, read> pixels: array<u32>;
@group(0) @binding(1) var<storage, read_write> maps: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> levels: array<Level>;

fn load(at: u32) -> f32 {
    return f32((pixels[at >> 2u] >> ((at & 3u) * 8u)) & 255u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = id.x + id.y * groups.x * 64u;
    for (var i = 0u; i < arrayLength(&levels); i++) {
        let level = levels[i];
        if (pixel >= level.first && pixel - level.first < level.count) {
            let at = level.byte + (pixel - level.first) * 3u;
            let rgb = vec3<f32>(load(at), load(at + 1u), load(at + 2u));
            maps[pixel] = vec4<f32>((rgb - MIDDLE) / SPREAD, 0.0);
        }
    }
}
