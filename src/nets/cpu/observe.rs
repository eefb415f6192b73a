//! Runs a net operation by operation and shows what each one gives: for the calibration of quantised weights.

use super::Engine;
use super::stream::{Data, Maps, Streams, Target};
use crate::nets::kernels::sum::add_doubled;
use crate::nets::kernels::{Isa, RowKernel};
use crate::nets::lower::{OpKind, Part, Sequence};
use crate::nets::spec::Input;

/// Called with the path of a layer, its number of channels and its output.
pub(in crate::nets) type Watch<'a> = dyn FnMut(&str, usize, &[f32]) + 'a;

/// Maps `[n, h, w, c]`.
#[derive(Clone)]
struct Observed {
    data: Vec<f32>,
    n: usize,
    h: usize,
    w: usize,
    c: usize,
}

impl Engine {
    /// Runs trunk, blocks and heads over `n` inputs `[n, h, w, 3]` of normalised pixels, which must not be too small, and shows every
    /// operation's output but those of mere copies.
    pub(in crate::nets) fn observe(&self, input: &[f32], (n, h, w): (usize, usize, usize), watch: &mut Watch) {
        let mut streams = Streams::default();
        let mut maps: Vec<Observed> = Vec::new();
        for map in 0..self.lowered.maps() {
            let (read, ops) = self.lowered.map_of(map);
            let input = match read.map(Input::maps) {
                None => Observed { data: input.to_vec(), n, h, w, c: 3 },
                Some((fine, None)) => maps[fine].clone(),
                Some((fine, Some(coarse))) => {
                    let sum = maps[fine].plus_doubled(self.isa, &maps[coarse]);
                    watch(&sum_path(map), sum.c, &sum.data);
                    sum
                }
            };
            maps.push(sequence(&mut streams, self.isa, ops, input, watch));
        }
        for head in &self.lowered.heads {
            let features = &maps[head.from];
            if head.ops.dims((features.h, features.w)).is_some() {
                sequence(&mut streams, self.isa, &head.ops, features.clone(), watch);
            }
        }
    }
}

impl Observed {
    /// The sum of these maps and of coarser ones at twice their size.
    fn plus_doubled(&self, isa: Isa, coarse: &Self) -> Self {
        let mut sum = self.clone();
        let row = self.w * self.c;
        for (i, to) in sum.data.chunks_exact_mut(row).enumerate() {
            let at = i / self.h * coarse.h + (i % self.h / 2).min(coarse.h - 1);
            let coarse = &coarse.data[at * coarse.w * coarse.c..][..coarse.w * coarse.c];
            add_doubled(isa, &self.data[i * row..][..row], coarse, self.c, to);
        }
        sum
    }
}

/// The path of the sum that makes the input of the block whose map has this number.
pub(in crate::nets) fn sum_path(map: usize) -> String {
    format!("block{map}.sum")
}

fn sequence(
    streams: &mut Streams,
    isa: Isa,
    of: &Sequence<RowKernel>,
    mut maps: Observed,
    watch: &mut Watch,
) -> Observed {
    for part in &of.parts {
        match part {
            Part::Chain(ops) => {
                for op in ops {
                    let Observed { n, h, w, c, .. } = maps;
                    let Some((out_h, out_w)) = op.dims((h, w)) else { unreachable!("the caller checks dimensions") };
                    let mut data = vec![0.0; n * out_h * out_w * op.output.c];
                    let source = Maps { data: Data::Floats(&maps.data), n, h, w, c };
                    let mut target = Target { data: &mut data, step: op.output.c };
                    streams.run(isa, std::slice::from_ref(op), source, &mut target);
                    // A copy may have the path of the layer that it is made for.
                    if op.kind != OpKind::Gather {
                        watch(&op.path, op.output.c, &data);
                    }
                    maps = Observed { data, n, h: out_h, w: out_w, c: op.output.c };
                }
            }
            Part::Branches(branches) => {
                let ends: Vec<Observed> =
                    branches.iter().map(|branch| sequence(streams, isa, branch, maps.clone(), watch)).collect();
                let Observed { n, h, w, .. } = ends[0];
                let c = ends.iter().map(|end| end.c).sum();
                let pixel = |i| ends.iter().flat_map(move |end| &end.data[i * end.c..(i + 1) * end.c]).copied();
                maps = Observed { data: (0..n * h * w).flat_map(pixel).collect(), n, h, w, c };
            }
        }
    }
    maps
}
