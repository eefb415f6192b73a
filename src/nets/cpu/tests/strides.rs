//! Nets whose blocks look at several strides.

use super::*;
use crate::nets::spec::{Block, Input};

/// A net of several strides: 20 channels, so that vectors have a rest; a sum, and a sum of a sum.
pub(in crate::nets) fn net_of_several_strides() -> Net {
    let conv = |stride| Layer::Conv { out: 20, kernel: 3, stride, pad: 1 };
    let half = Layer::MaxPool { size: 2, stride: 2, pad: 0 };
    let pointwise = |out| Layer::Conv { out, kernel: 1, stride: 1, pad: 0 };
    let head = |stride, from| Head { output: Output::Cells(stride), from, layers: vec![conv(1), pointwise(6)] };
    Net {
        name: "several",
        side: 16,
        trunk: vec![conv(2), Layer::BatchNorm, Layer::Relu],
        blocks: vec![
            Block { input: Input::Map(0), layers: vec![half.clone(), pointwise(20), Layer::Relu] },
            Block { input: Input::Map(1), layers: vec![half, conv(1), Layer::BatchNorm] },
            Block { input: Input::Sum { fine: 1, coarse: 2 }, layers: vec![pointwise(20), conv(1), Layer::Relu] },
            Block { input: Input::Sum { fine: 0, coarse: 3 }, layers: vec![conv(1)] },
        ],
        heads: vec![head(2, 4), head(4, 3), head(8, 2)],
    }
}

#[test]
fn a_net_of_several_strides_gives_what_its_definition_says_on_odd_sides_too() {
    let (net, mut rng, mut scratch) = (net_of_several_strides(), StdRng::seed_from_u64(8), Scratch::default());
    let weights = random_weights(&net, &mut rng);
    for (n, h, w) in [(3, 16, 16), (1, 45, 61), (2, 23, 17), (1, 8, 9), (9, 16, 16), (1, 7, 30), (1, 6, 6)] {
        check(&net, &weights, &mut rng, (n, h, w), &mut scratch);
    }
    assert_eq!(net.lower(Purpose::Inference).unwrap().stride(4), Some(2));
    assert_eq!(Engine::new(&net, &weights).unwrap().head_dims(Output::Cells(4), 45, 61), Some(Dims::new(11, 15, 6)));
}

#[test]
fn a_net_whose_sums_do_not_fit_is_refused() {
    let mut net = net_of_several_strides();
    net.blocks[3].input = Input::Sum { fine: 0, coarse: 2 };
    assert!(net.check().unwrap_err().to_string().contains("half as large"));
    net.blocks[3].input = Input::Map(5);
    assert!(net.check().unwrap_err().to_string().contains("map 5"));
}
