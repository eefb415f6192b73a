//! Writes an operation's shader: the common part is `shaders/layer.wgsl`, to which `fn layer` of the operation's kind is added.

use super::compile::Op;
use crate::nets::lower::OpKind;

/// Fours of channels that one invocation computes at most: as many sums as fit registers.
const SUMS: usize = 8;

/// Fours of channels.
pub(super) fn fours(channels: usize) -> usize {
    channels.div_ceil(4)
}

/// Fours of channels that one invocation computes.
fn sums<A>(op: &Op<A>) -> usize {
    let all = fours(op.output.c);
    match op.kind {
        OpKind::Conv => (1..=SUMS).rev().find(|n| all.is_multiple_of(*n)).unwrap_or(1),
        _ => 1,
    }
}

/// Invocations for each pixel.
pub(super) fn depth<A>(op: &Op<A>) -> usize {
    fours(op.output.c) / sums(op)
}

/// The shader of `op`.
pub(super) fn shader(op: &Op) -> String {
    let (from, all, n) = (fours(op.input.c), fours(op.output.c), sums(op));
    let lines = |line: &dyn Fn(usize) -> String| (0..n).map(line).collect::<Vec<_>>().join("\n");
    let begin = match op.kind {
        OpKind::Conv | OpKind::Depthwise => lines(&|k| format!("    var s{k} = weights[first + {k}u];")),
        OpKind::MaxPool => "    var s0 = vec4<f32>(-3.0e38);".into(),
        kind => unreachable!("compile() refuses {kind:?}"),
    };
    let tap = match op.kind {
        OpKind::Conv => {
            let sum = |k| {
                let weight = |i: usize| format!("weights[w + {}u]", i * all + k);
                format!(
                    "                s{k} += v.x * {} + v.y * {} + v.z * {} + v.w * {};",
                    weight(0),
                    weight(1),
                    weight(2),
                    weight(3)
                )
            };
            format!(
                "            for (var c = 0u; c < {from}u; c++) {{
                let v = from_maps[at + c];
                let w = {all}u + ((tap * {from}u + c) * 4u) * {all}u + first;
{}
            }}",
                lines(&sum)
            )
        }
        OpKind::Depthwise => {
            format!("            s0 += from_maps[at + first] * weights[{all}u + tap * {all}u + first];")
        }
        OpKind::MaxPool => "            s0 = max(s0, from_maps[at + first]);".into(),
        kind => unreachable!("compile() refuses {kind:?}"),
    };
    let end = lines(&|k| {
        let value = if op.relu { format!("max(s{k}, vec4<f32>())") } else { format!("s{k}") };
        format!("    to_maps[pixel * {all}u + first + {k}u] = {value};")
    });
    let Op { kernel: (kernel, _), stride, pad, .. } = op;
    let common = include_str!("../../../shaders/layer.wgsl");
    format!(
        "{common}
fn layer(map: Map, pixel: u32, column: u32, row: u32, group: u32) {{
    let first = group * {n}u;
{begin}
    for (var ky = 0u; ky < {kernel}u; ky++) {{
        let y = i32(row * {stride}u + ky) - {pad};
        if (y < 0 || y >= i32(map.from_height)) {{
            continue;
        }}
        for (var kx = 0u; kx < {kernel}u; kx++) {{
            let x = i32(column * {stride}u + kx) - {pad};
            if (x < 0 || x >= i32(map.from_width)) {{
                continue;
            }}
            let tap = ky * {kernel}u + kx;
            let at = (map.from_pixel + u32(y) * map.from_width + u32(x)) * {from}u;
{tap}
        }}
    }}
{end}
}}
"
    )
}

/// The weights of `op` as its shader reads them: biases, then `[kernel, kernel, inputs, outputs]`, channels filled up with
/// zeros to fours.
pub(super) fn weights(op: &Op) -> Vec<f32> {
    let (c, out) = (fours(op.input.c) * 4, fours(op.output.c) * 4);
    let padded = |row: &[f32]| {
        let mut row = row.to_vec();
        row.resize(out, 0.0);
        row
    };
    let mut all = padded(&op.arrays.bias);
    match op.kind {
        OpKind::Depthwise => all.extend(op.arrays.weight.chunks_exact(op.output.c).flat_map(padded)),
        OpKind::Conv => {
            for tap in op.arrays.weight.chunks_exact(op.input.c * op.output.c) {
                all.extend(tap.chunks_exact(op.output.c).flat_map(padded));
                all.resize(all.len() + (c - op.input.c) * out, 0.0);
            }
        }
        _ => {}
    }
    all
}
