//! Every net by name: the four that ship, and the article's and the paper's own.
//!
//! Shipped (the first one finds, the next two look closer, the last one tells a smile): `yunet`, `refine64`, `refine96`, `smile`.
//! Of the cascade before: `octave`, `refine24`, `refine48`.
//! From the article and Li et al. 2015: `net12`, `net12_cal`, `net24`, `net24_cal`, `net48`, `net48_cal`, the variants
//! that see several resolutions `net24_mr`, `net48_mr`, and the small Inception net `net64_inceptron`.
//! `yunet` follows the published plan of YuNet (Wu et al. 2023), without landmarks.

use super::grid::CELL_NUMBERS;
use super::spec::Layer::{AveragePool, BatchNorm, Branches, Conv, Dense, Depthwise, Dropout, Flatten, MaxPool, Relu};
use super::spec::{Block, Head, Input, Layer, Net, Output};

/// The names of all nets, shipped ones first.
pub const NAMES: [&str; 16] = [
    "yunet",
    "refine64",
    "refine96",
    "smile",
    "octave",
    "refine24",
    "refine48",
    "net12",
    "net12_cal",
    "net24",
    "net24_cal",
    "net48",
    "net48_cal",
    "net24_mr",
    "net48_mr",
    "net64_inceptron",
];

/// The net of this name, or `None`.
pub fn by_name(name: &str) -> Option<Net> {
    Some(match name {
        "octave" => octave(),
        "refine24" => refine24(),
        "refine48" => refine48(),
        "refine64" => refine64(),
        "refine96" => refine96(),
        "smile" => smile(),
        "net12" => detector("net12", 12, net12_trunk(), 0.0),
        "net12_cal" => calibrator("net12_cal", 12, [input_dropout(), conv(16, 3), pool()].concat(), 128, 0.5),
        "net24" => detector("net24", 24, [conv(64, 5), pool(), dense(128)].concat(), 0.5),
        "net24_cal" => calibrator("net24_cal", 24, [input_dropout(), conv(32, 5), pool()].concat(), 64, 0.5),
        "net48" => detector("net48", 48, [net48_convolutions(), pool(), dense(256)].concat(), 0.5),
        "net48_cal" => calibrator("net48_cal", 48, [input_dropout(), net48_convolutions()].concat(), 256, 0.3),
        "net24_mr" => detector("net24_mr", 24, net24_mr_trunk(), 0.5),
        "net48_mr" => detector("net48_mr", 48, net48_mr_trunk(), 0.5),
        "net64_inceptron" => net64_inceptron(),
        "yunet" => yunet(),
        _ => return None,
    })
}

/// A first net for one octave of sizes: fully convolutional, stride 4, three sizes of face in each cell, so that one pyramid level
/// serves a whole octave of sizes. 583 multiply-adds a pixel; each cell sees 47 × 47 pixels.
pub fn octave() -> Net {
    let mut trunk = same_conv(16, 2);
    trunk.extend(separable(32, 2));
    for _ in 0..5 {
        trunk.extend(separable(32, 1));
    }
    let head = vec![Conv { out: 12, kernel: 1, stride: 1, pad: 0 }];
    Net {
        name: "octave",
        side: 24,
        trunk,
        blocks: vec![],
        heads: vec![Head { output: Output::Octave, from: 0, layers: head }],
    }
}

/// A refiner on 24 pixels: 0.66 M multiply-adds.
pub fn refine24() -> Net {
    let trunk = [
        conv(16, 3),
        vec![MaxPool { size: 2, stride: 2, pad: 0 }],
        conv(32, 3),
        pool(),
        conv(48, 3),
        vec![Dense(96), BatchNorm, Relu],
    ];
    Net { name: "refine24", side: 24, trunk: trunk.concat(), blocks: vec![], heads: three_heads() }
}

/// A refiner on 48 pixels, separable: 1.6 M multiply-adds.
pub fn refine48() -> Net {
    separable_refiner("refine48", 48)
}

/// The second net that ships: the same layers on 64 pixels, for windows with what lies round them. 2.9 M multiply-adds.
pub fn refine64() -> Net {
    separable_refiner("refine64", 64)
}

/// The third net, for the windows that the second one leaves, with as much again round them, at 96 pixels. 11.3 M multiply-adds.
pub fn refine96() -> Net {
    let trunk = [
        same_conv(16, 2),
        separable(32, 2),
        separable(64, 1),
        separable(96, 2),
        separable(128, 1),
        separable(128, 1),
        separable(192, 2),
        separable(192, 1),
        separable(256, 2),
        vec![Dense(192), BatchNorm, Relu],
    ];
    Net { name: "refine96", side: 96, trunk: trunk.concat(), blocks: vec![], heads: three_heads() }
}

fn separable_refiner(name: &'static str, side: usize) -> Net {
    let trunk = [
        same_conv(16, 2),
        separable(32, 2),
        separable(48, 1),
        separable(64, 2),
        separable(96, 1),
        separable(96, 1),
        separable(128, 2),
        vec![Dense(128), BatchNorm, Relu],
    ];
    Net { name, side, trunk: trunk.concat(), blocks: vec![], heads: three_heads() }
}

/// The smile net, on a face's middle and lower part at 56 pixels: the layers of the separable refiners, with more detail in the second
/// one. 3.1 M multiply-adds.
pub fn smile() -> Net {
    let trunk = [
        same_conv(16, 2),
        separable(32, 1),
        separable(48, 2),
        separable(64, 1),
        separable(96, 2),
        separable(96, 1),
        separable(128, 2),
        vec![Dense(64), BatchNorm, Relu],
    ];
    let head = vec![Dropout(0.3), Dense(1)];
    Net {
        name: "smile",
        side: 56,
        trunk: trunk.concat(),
        blocks: vec![],
        heads: vec![Head { output: Output::Smile, from: 0, layers: head }],
    }
}

/// A detector of its own: a trunk to stride 8, blocks to strides 16 and 32, a top-down path that adds each map to the next finer
/// one, and a head at each of the three strides. 1,309 multiply-adds a pixel.
pub fn yunet() -> Net {
    let unit = |out| [vec![Conv { out, kernel: 1, stride: 1, pad: 0 }], vec![DEPTHWISE, BatchNorm, Relu]].concat();
    let half = || vec![MaxPool { size: 2, stride: 2, pad: 0 }];
    let trunk =
        [same_conv(16, 2), unit(16), half(), unit(16), unit(64), unit(64), unit(64), half(), unit(64), unit(64)];
    let deeper = |from| Block { input: Input::Map(from), layers: [half(), unit(64), unit(64)].concat() };
    let sum = |fine, coarse| Block { input: Input::Sum { fine, coarse }, layers: unit(64) };
    let top = Block { input: Input::Map(2), layers: unit(64) };
    let head = |stride, from| {
        // The published heads for class, objectness and box side by side: their channels do not meet.
        let layers = [unit(64), vec![Conv { out: CELL_NUMBERS, kernel: 1, stride: 1, pad: 0 }, DEPTHWISE]].concat();
        Head { output: Output::Cells(stride), from, layers }
    };
    Net {
        name: "yunet",
        side: 64,
        trunk: trunk.concat(),
        blocks: vec![deeper(0), deeper(1), top, sum(1, 3), sum(0, 4)],
        heads: vec![head(8, 5), head(16, 4), head(32, 3)],
    }
}

/// Depthwise 3×3, padded by 1.
const DEPTHWISE: Layer = Depthwise { kernel: 3, stride: 1, pad: 1 };

fn three_heads() -> Vec<Head> {
    [(Output::Face, 1), (Output::Calibration, 45), (Output::Box, 4)]
        .map(|(output, n)| Head { output, from: 0, layers: vec![Dense(n)] })
        .into()
}

/// 3×3, padded by 1, batch norm, ReLU.
fn same_conv(out: usize, stride: usize) -> Vec<Layer> {
    vec![Conv { out, kernel: 3, stride, pad: 1 }, BatchNorm, Relu]
}

/// Depthwise 3×3 and batch norm, pointwise and batch norm, ReLU.
fn separable(out: usize, stride: usize) -> Vec<Layer> {
    vec![
        Depthwise { kernel: 3, stride, pad: 1 },
        BatchNorm,
        Conv { out, kernel: 1, stride: 1, pad: 0 },
        BatchNorm,
        Relu,
    ]
}

/// The article's `conv`: no padding, batch norm, ReLU.
fn conv(out: usize, kernel: usize) -> Vec<Layer> {
    vec![Conv { out, kernel, stride: 1, pad: 0 }, BatchNorm, Relu]
}

/// The paper's pooling, 3×3 with stride 2.
fn pool() -> Vec<Layer> {
    vec![MaxPool { size: 3, stride: 2, pad: 0 }]
}

fn dense(units: usize) -> Vec<Layer> {
    vec![Dense(units), Relu]
}

fn input_dropout() -> Vec<Layer> {
    vec![Dropout(0.1)]
}

fn detector(name: &'static str, side: usize, trunk: Vec<Layer>, dropout: f32) -> Net {
    let layers = if dropout > 0.0 { vec![Dropout(dropout), Dense(2)] } else { vec![Dense(2)] };
    Net { name, side, trunk, blocks: vec![], heads: vec![Head { output: Output::Face, from: 0, layers }] }
}

fn calibrator(name: &'static str, side: usize, mut trunk: Vec<Layer>, units: usize, dropout: f32) -> Net {
    trunk.extend([Dropout(dropout), Dense(units), Relu]);
    let layers = vec![Dropout(dropout), Dense(45)];
    Net { name, side, trunk, blocks: vec![], heads: vec![Head { output: Output::Calibration, from: 0, layers }] }
}

fn net12_trunk() -> Vec<Layer> {
    [conv(16, 3), pool(), dense(16)].concat()
}

fn net48_convolutions() -> Vec<Layer> {
    [conv(64, 5), pool(), conv(64, 5)].concat()
}

/// The paper's 24-net beside its 12-net on the halved window.
fn net24_mr_trunk() -> Vec<Layer> {
    let coarse = [vec![AveragePool(2)], net12_trunk()].concat();
    vec![Branches(vec![[conv(64, 5), pool(), dense(128)].concat(), coarse])]
}

/// The paper's 48-net beside the 24-net and the 12-net on the halved and quartered window.
fn net48_mr_trunk() -> Vec<Layer> {
    let fine = [net48_convolutions(), pool(), dense(256)].concat();
    let middle = [vec![AveragePool(2)], conv(64, 5), pool(), dense(128)].concat();
    let coarse = [vec![AveragePool(4)], net12_trunk()].concat();
    vec![Branches(vec![fine, middle, coarse])]
}

/// The article's Inception net: three modules of three branches (1×1; 1×1 → 3×3; 1×1 → 5×5). Lasagne's listing left
/// the branches' borders out; here each branch pads so that their maps fit each other.
fn net64_inceptron() -> Net {
    let same = |out, kernel| vec![Conv { out, kernel, stride: 1, pad: kernel / 2 }, Relu];
    let module = |a, (b1, b3), (c1, c5)| {
        vec![
            Branches(vec![same(a, 1), [same(b1, 1), same(b3, 3)].concat(), [same(c1, 1), same(c5, 5)].concat()]),
            MaxPool { size: 3, stride: 2, pad: 1 },
        ]
    };
    let trunk = [
        input_dropout(),
        module(32, (48, 64), (8, 16)),
        module(64, (64, 96), (16, 48)),
        module(96, (48, 104), (8, 24)),
        vec![Flatten, Dropout(0.5), Dense(256), Relu],
    ];
    detector("net64_inceptron", 64, trunk.concat(), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_net_fits_together() {
        for name in NAMES {
            let net = by_name(name).unwrap();
            assert_eq!(net.name, name);
            net.check().unwrap();
        }
        assert!(by_name("net13").is_none());
    }

    /// The line of `models/README.md` that states a net's sizes.
    fn card(net: &Net) -> String {
        use crate::nets::weights::{Role, slots};
        let learned = slots(net).unwrap().into_iter().filter(|s| !matches!(s.role, Role::Mean | Role::Variance));
        let parameters: usize = learned.map(|s| s.shape.iter().product::<usize>()).sum();
        let input = format!("{0}×{0}", net.side);
        let (input, cost) = if matches!(net.heads[0].output, Output::Octave | Output::Cells(_)) {
            let pixels = 640 * 480;
            ("any size".into(), format!("{} a pixel", (net.multiply_adds(480, 640) + pixels / 2) / pixels))
        } else {
            (input, format!("{:.3} M a window", net.multiply_adds(net.side, net.side) as f64 / 1e6))
        };
        format!("| `{}` | {input} | {parameters} | {cost} |", net.name)
    }

    #[test]
    fn the_cards_of_the_nets_state_their_sizes() {
        let cards = include_str!("../../models/README.md");
        let rows: Vec<String> = NAMES.iter().map(|name| card(&by_name(name).unwrap())).collect();
        let rows = rows.join("\n");
        assert!(cards.contains(&rows), "models/README.md should say:\n{rows}");
    }

    #[test]
    fn the_shipped_nets_cost_what_the_docs_say() {
        let per_pixel = octave().multiply_adds(480, 640) as f64 / (480.0 * 640.0);
        assert!((per_pixel - 583.0).abs() < 5.0, "{per_pixel}");
        assert!((refine24().multiply_adds(24, 24) as f64 / 0.66e6 - 1.0).abs() < 0.03);
        assert!((refine48().multiply_adds(48, 48) as f64 / 1.6e6 - 1.0).abs() < 0.03);
    }
}
