// Lists the windows of the octave net's last map whose logit is over the threshold, in any order. One invocation a cell. SIZES, the number of windows in a cell, is put in front (src/nets/gpu/mod.rs).
struct Window {
    // Index of the cell × SIZES + index of the size.
    number: u32,
    logit: f32,
    dx: f32,
    dy: f32,
    ln_s: f32,
}

struct Windows {
    count: atomic<u32>,
    list: array<Window>,
}

@group(0) @binding(0) var<storage, read> cells: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> windows: Windows;
// The threshold, and behind it the number of cells.
@group(0) @binding(2) var<storage, read> settings: array<vec2<u32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let cell = id.x + id.y * groups.x * 64u;
    if (cell >= settings[0].y) {
        return;
    }
    for (var size = 0u; size < SIZES; size++) {
        let number = cell * SIZES + size;
        let v = cells[number];
        if (v.x > bitcast<f32>(settings[0].x)) {
            // There is room for all windows.
            let i = atomicAdd(&windows.count, 1u);
            windows.list[i] = Window(number, v.x, v.y, v.z, v.w);
        }
    }
}
