//! A net's operations with folded weights, in the order in which a GPU runs them.

use crate::error::{Error, Result};
use crate::nets::lower::{OpKind, Part, Purpose};
use crate::nets::spec::{Net, Output};
use crate::nets::weights::Weights;

/// Weights and biases, batch norm folded into them.
#[derive(Debug)]
pub(super) struct Folded {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// An operation; one shader computes it.
pub(super) type Op<A = Folded> = crate::nets::lower::Op<A>;

/// The trunk of `net` and behind it its octave head.
pub(super) fn compile(net: &Net, weights: &Weights) -> Result<Vec<Op>> {
    let fail = |reason: String| Error::Net { net: net.name.into(), reason };
    let lowered = net.lower(Purpose::Inference)?;
    weights.check(net, net.name)?;
    let lowered = lowered.map(|op| {
        if !matches!(op.kind, OpKind::Conv | OpKind::Depthwise | OpKind::MaxPool) {
            return Ok(None);
        }
        let (weight, bias) = weights.folded(op)?;
        Ok(Some(Folded { weight, bias }))
    })?;
    let mut heads = lowered.heads.into_iter();
    let Some(head) = heads.find(|head| head.output == Output::Octave && head.from == 0) else {
        let reason = "on a GPU only a net with an octave head can run (--cascade models/octave/cascade.toml has one); leave out --level1 gpu to \
             run this one on the CPU";
        return Err(fail(reason.into()));
    };
    let mut list = Vec::new();
    for part in lowered.trunk.parts.into_iter().chain(head.ops.parts) {
        let Part::Chain(ops) = part else { return Err(fail("branches can't be run on the GPU".into())) };
        for mut op in ops {
            match op.arrays.take() {
                Some(folded) => list.push(op.with(folded)),
                None => return Err(fail(format!("{}, {:?}, can't be run on the GPU", op.path, op.kind))),
            }
        }
    }
    Ok(list)
}
