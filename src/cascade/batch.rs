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

    /// Grows memory and `scratch` to what a full batch of `net` on the CPU needs, so that no later run allocates.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cascade::shipped;
    use crate::nets::spec::Output;
    use crate::nets::zoo;
    use crate::source::picture;

    /// What `net` says of some places of a picture.
    fn said(net: &WindowNet, halves: &Pyramid) -> Vec<f32> {
        let at = |i: u16| Crop::upright(80.0 + 30.0 * f32::from(i), 90.0, 70.0 + 12.0 * f32::from(i));
        let (mut batch, mut scratch) = (Batch::default(), Scratch::default());
        batch.grow(net, &mut scratch);
        batch.run(net, (0..9).map(|i| (halves, at(i))), &mut scratch);
        net.head(Output::Face, None, &mut scratch).to_vec()
    }

    #[test]
    fn a_net_in_8_bits_that_sees_bytes_says_what_it_says_of_floats() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/astronaut.jpg");
        let halves = Pyramid::of(&picture::read(&file).unwrap(), 8);
        let (name, net) = ("refine64", zoo::refine64());
        let weights = shipped::weights(name).unwrap();
        let quantised = shipped::quantised(name).unwrap();
        let mut net = WindowNet::new(&net, weights, quantised.as_ref()).unwrap();
        assert!(net.takes_bytes());
        let bytes = said(&net, &halves);
        // Whoever notes what a net computes sees floats.
        net.observe();
        assert!(!net.takes_bytes());
        let floats = said(&net, &halves);
        let (most, off) = bytes
            .iter()
            .zip(&floats)
            .fold((0f32, 0f32), |(most, off), (a, b)| (most.max(b.abs()), off.max((a - b).abs())));
        assert!(bytes.len() == 9 && off < 0.02 * most, "{off} of {most}");
    }
}
