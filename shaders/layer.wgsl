// The part that the shaders of all layers share. One dispatch runs over the maps of all pyramid levels, stored one after the
// other; a pixel's channels are stored four to a vector. src/nets/gpu/wgsl.rs writes the function `layer`, one for each layer.
struct Map {
    // Start of the map that is read, in pixels; its columns and rows.
    from_pixel: u32,
    from_width: u32,
    from_height: u32,
    // Start of the map that is written, in pixels; its columns and rows.
    to_pixel: u32,
    width: u32,
    height: u32,
}

@group(0) @binding(0) var<storage, read> from_maps: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> to_maps: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> maps: array<Map>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = id.x + id.y * groups.x * 64u;
    for (var i = 0u; i < arrayLength(&maps); i++) {
        let map = maps[i];
        let local = pixel - map.to_pixel;
        if (pixel >= map.to_pixel && local < map.width * map.height) {
            layer(map, pixel, local % map.width, local / map.width, id.z);
        }
    }
}
