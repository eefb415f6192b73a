//! A chain of layers as one op for candle's CPU tensors, with its own gradient: candle's convolution is slow there, its
//! gradient of max pooling wrong, and its backward pass goes through memory twice more for every op.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape as Dims, Tensor, bail};

use super::super::kernels::Isa;
use super::super::kernels::gradients::{GradientSums, NormStats, Shape};
use super::backward::{Before, OpBackward};
use super::buffers::{Buffer, Buffers, lock};
use super::chain_op::{ChainOp, Kept, Source};
use super::forward::Forward;

/// Arguments: input `[n, h, w, c]` and all parameters of the ops, one behind the other.
pub(super) struct Chain {
    /// The operations; at least one.
    pub(super) ops: Arc<Vec<ChainOp>>,
    /// Dimensions of each operation for this input.
    pub(super) shapes: Vec<Shape>,
    /// Statistics of the ops' batch norms, in order; `None` in training: those of the batch.
    pub(super) running: Option<Vec<NormStats>>,
    /// Products of the forward pass, for the backward pass.
    pub(super) tape: Arc<Tape>,
    /// Stock of arrays for the maps.
    pub(super) buffers: Buffers,
}

/// Products and statistics of each operation of a forward pass.
#[derive(Debug, Default)]
pub(super) struct Tape(Mutex<Vec<Kept>>);

impl Tape {
    /// The statistics of all batch norms, in order.
    pub(super) fn stats(&self) -> Vec<NormStats> {
        lock(&self.0).iter().filter_map(|kept| kept.stats.clone()).collect()
    }
}

/// Floats of inputs and outputs of a run of operations that are worked on at a time, so that they stay in the second cache.
const AT_ONCE: usize = 1 << 16;

/// A run of operations on its way back.
struct Way<'a> {
    isa: Isa,
    /// Numbers of the operations.
    run: Range<usize>,
    kept: &'a [Kept],
    /// What the first of them read.
    before: Source<'a>,
    parameters: &'a [f32],
}

impl Chain {
    /// Runs of operations, one behind the other, through which a few maps can go at a time: they end with an operation whose
    /// outputs depend on the whole batch, by batch norm.
    fn runs(&self) -> Vec<Range<usize>> {
        let (mut runs, mut start) = (Vec::new(), 0);
        for (i, op) in self.ops.iter().enumerate() {
            if op.norm && self.running.is_none() || i + 1 == self.ops.len() {
                runs.push(start..i + 1);
                start = i + 1;
            }
        }
        runs
    }

    /// The maps of the batch, a few at a time.
    fn groups(&self, run: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let n = self.shapes[run.start].n;
        let floats = self.shapes[run.clone()].iter().map(|s| s.maps().0 + s.maps().1).max().unwrap_or(1);
        // One operation alone gains nothing from maps that stay in the cache.
        let at_once = if run.len() == 1 { n } else { (AT_ONCE / floats.max(1)).min(n) }.max(1);
        (0..n).step_by(at_once).map(move |first| first..(first + at_once).min(n))
    }

    /// Goes back through a run of operations: `dy` are the gradients of its outputs and `sums` their sums.
    fn back_through(
        &self,
        way: &Way<'_>,
        sums: GradientSums,
        dy: &[f32],
        mut before: Before<'_>,
        gradient: &mut [f32],
    ) {
        let Way { isa, run, kept, parameters, .. } = way;
        let (isa, last) = (*isa, run.len() - 1);
        let mut ops: Vec<OpBackward<'_>> = Vec::with_capacity(run.len());
        for (i, kept) in kept.iter().enumerate() {
            let (at, wants_dx) = (run.start + i, i > 0 || before.dx.is_some());
            let sums = if i == last { sums.clone() } else { kept.gradient_sums() };
            let (op, s) = (&self.ops[at], self.shapes[at]);
            ops.push(OpBackward::new((op, s), isa, (kept, sums), parameters, wants_dx, &self.buffers));
        }
        // The gradients of what each operation but the first reads, for the maps under way.
        let groups: Vec<_> = self.groups(run).collect();
        let most = groups.first().map_or(0, Range::len);
        let between = |i: usize| self.buffers.take(most * self.shapes[run.start + i].maps().0);
        let mut between: Vec<Buffer> = (1..run.len()).map(between).collect();
        for maps in groups {
            for i in (0..run.len()).rev() {
                let at = run.start + i;
                let (input, output) = self.shapes[at].maps();
                let (earlier, later) = between.split_at_mut(i);
                let dy = match later.first() {
                    Some(dy) => &dy[..maps.len() * output],
                    None => &dy[maps.start * output..maps.end * output],
                };
                let (ops_before, op) = ops.split_at_mut(i);
                let (source, before) = match (ops_before.last_mut(), earlier.last_mut()) {
                    (Some(op), Some(dx)) => {
                        let before = Before { dx: Some(&mut dx[..maps.len() * input]), sums: Some(&mut op.sums) };
                        (source(&[], Some(&kept[i - 1])), before)
                    }
                    _ => {
                        let dx = before.dx.as_deref_mut().map(|dx| &mut dx[maps.start * input..maps.end * input]);
                        (way.before, Before { dx, sums: before.sums.as_deref_mut() })
                    }
                };
                let dw = &mut gradient[self.ops[at].weight.clone()];
                op[0].run(isa, maps.clone(), &source, dy, before, dw);
            }
        }
        ops.into_iter().for_each(|op| op.finish(gradient));
    }
}

impl CustomOp2 for Chain {
    fn name(&self) -> &'static str {
        "facecascade-chain"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (x, parameters) = (slice(x, x_layout)?, slice(parameters, parameters_layout)?);
        let isa = Isa::best();
        let mut tape: Vec<Kept> = Vec::with_capacity(self.ops.len());
        let mut running = self.running.iter().flatten();
        for run in self.runs() {
            let begin = |i: usize| {
                let stats = if self.ops[i].norm { running.next() } else { None };
                Forward::new(&self.ops[i], isa, self.shapes[i], parameters, stats, &self.buffers)
            };
            let mut works: Vec<Forward<'_>> = run.clone().map(begin).collect();
            for maps in self.groups(&run) {
                for i in 0..works.len() {
                    let (before, work) = works.split_at_mut(i);
                    let before = before.last().map(Forward::kept).or(tape.last());
                    work[0].run(isa, maps.clone(), &source(x, before));
                }
            }
            tape.extend(works.into_iter().map(Forward::finish));
        }
        let (Some(last), Some(s)) = (tape.last(), self.shapes.last()) else {
            bail!("a chain has at least one operation")
        };
        let mut y = vec![0.0; s.output_len()];
        last.activation.apply(isa, &last.product, &mut y);
        if self.running.is_none() {
            *lock(&self.tape.0) = tape;
        }
        Ok((CpuStorage::F32(y), Dims::from((s.n, s.out_h(), s.out_w(), s.out))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let isa = Isa::best();
        let mut tape = std::mem::take(&mut *lock(&self.tape.0));
        let mut gradient = vec![0.0; parameters.elem_count()];
        let (dy, x_tracks) = (dy.contiguous()?, x.track_op());
        let dx = with_slice(x, |x| {
            with_slice(parameters, |parameters| {
                with_slice(&dy, |first| {
                    let Some(last) = tape.last() else { bail!("a chain's backward pass runs only once") };
                    let mut sums = last.gradient_sums();
                    sums.add(isa, &last.product, first);
                    let mut dy: Option<Buffer> = None;
                    for run in self.runs().into_iter().rev() {
                        let kept = tape.split_off(run.start);
                        let wants_dx = run.start > 0 || x_tracks;
                        let mut dx = wants_dx.then(|| self.buffers.take(self.shapes[run.start].input_len()));
                        let mut sums_before = tape.last().map(Kept::gradient_sums);
                        let way = Way { isa, run, kept: &kept, before: source(x, tape.last()), parameters };
                        let dy_all = dy.as_deref().unwrap_or(first);
                        let before = Before { dx: dx.as_deref_mut(), sums: sums_before.as_mut() };
                        self.back_through(&way, sums, dy_all, before, &mut gradient);
                        dy = dx;
                        let Some(before) = sums_before else { break };
                        sums = before;
                    }
                    Ok(dy.map(|dx| dx.to_vec()))
                })
            })
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        Ok((dx, Some(Tensor::from_vec(gradient, parameters.shape(), x.device())?)))
    }
}

fn source<'a>(x: &'a [f32], before: Option<&'a Kept>) -> Source<'a> {
    match before {
        Some(kept) => {
            let activation = Some(&kept.activation).filter(|a| !a.is_identity());
            Source { data: &kept.product, activation }
        }
        None => Source { data: x, activation: None },
    }
}

pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("facecascade's ops need contiguous tensors, this one has layout {layout:?}"),
    }
}

pub(super) fn with_slice<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(cpu) => f(slice(cpu, layout)?),
        _ => bail!("facecascade's ops run on the CPU; elsewhere candle's own are used"),
    }
}
