//! Runs a net over crops of pictures, in the numbers that it takes: floats, or bytes for a net in 8 bits.

use super::crops::{Crop, Sample, sample};
use crate::nets::windows::{Scratch, WindowNet};
use crate::pyramid::Pyramid;

/// Memory for the crops of a batch.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    floats: Vec<f32>,
    bytes: Vec<u8>,
}

impl Batch {
    /// Runs `net` over upright crops of pictures, given by their halves: not over more than [`WindowNet::batch`] at once. `scratch` has
    /// then what came out.
    pub(crate) fn run<'a>(
        &mut self,
        net: &WindowNet,
        crops: impl ExactSizeIterator<Item = (&'a Pyramid, Crop)>,
        scratch: &mut Scratch,
    ) {
        let n = crops.len();
        if net.takes_bytes() {
            net.run_bytes(filled(&mut self.bytes, net.net().side, crops), n, scratch);
        } else {
            net.run(filled(&mut self.floats, net.net().side, crops), n, scratch);
        }
    }

    /// Grows both memories to what a full batch of `net` on the CPU needs, so that no later run allocates.
    pub(crate) fn grow(&mut self, net: &WindowNet, scratch: &mut Scratch) {
        if net.is_on_device() {
            return;
        }
        let (nothing, at) = (Pyramid::default(), Crop::upright(0.0, 0.0, 1.0));
        self.run(net, (0..net.batch()).map(|_| (&nothing, at)), scratch);
        for head in &net.net().heads {
            net.head(head.output, None, scratch);
        }
    }
}

fn filled<'a, 'b, T: Sample>(
    memory: &'b mut Vec<T>,
    side: usize,
    crops: impl ExactSizeIterator<Item = (&'a Pyramid, Crop)>,
) -> &'b [T] {
    let len = side * side * 3;
    memory.resize(memory.len().max(crops.len() * len), T::default());
    let memory = &mut memory[..crops.len() * len];
    for ((halves, at), out) in crops.zip(memory.chunks_exact_mut(len)) {
        sample(halves, 0, &at, side, out);
    }
    memory
}
