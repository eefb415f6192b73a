//! A net's weights in 8 bits, by name, in a safetensors file beside the one they were made from; checked when they are loaded.
//!
//! An operation that multiplies has four arrays, named after its layer: `weight` (8-bit, in the shape of the float weights, batch norm folded
//! in), `bias` (32-bit), `multiplier` (float) and `zero` (unsigned 8-bit), the last three one for each output. An output is the integer
//! nearest to (Σ weight · input byte + bias) · multiplier, of two the even one, cut to 0..=255; `zero` is the byte that stands for 0. A head's last outputs
//! stay real, and are not rounded. A block that reads a sum of two maps has its arrays `blockN.sum` ([`QuantisedSum`]).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::nets::cpu::observe::sum_path;
use crate::nets::lower::{Op, Purpose};
use crate::nets::spec::Net;
use crate::nets::weights::Weights;

/// The note that says which float weights these were made from.
const ORIGIN: &str = "made_from";

/// The arrays of one operation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantisedOp {
    /// Weights, row-major in the shape of the float weights.
    pub weight: Vec<i8>,
    /// Added to each output's sum; the inputs' zero points and the output's own are in it.
    pub bias: Vec<i32>,
    /// What each output's sum is multiplied by.
    pub multiplier: Vec<f32>,
    /// The byte that stands for 0 in each output.
    pub zero: Vec<u8>,
}

/// The sum of a map and of a coarser one: a byte is the integer nearest to fine byte · `fine` + coarse byte · `coarse` + `offset`, of
/// two the even one, cut to 0..=255.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct QuantisedSum {
    /// What each channel of the finer map is multiplied by.
    pub fine: Vec<f32>,
    /// What each channel of the coarser map is multiplied by.
    pub coarse: Vec<f32>,
    /// Added to each channel.
    pub offset: Vec<f32>,
    /// The byte that stands for 0 in each channel.
    pub zero: Vec<u8>,
}

/// A net's quantised weights by the path of the layer (`trunk.0`, `face.1`, …) and notes about how they were made.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quantised {
    /// Arrays by path.
    pub ops: BTreeMap<String, QuantisedOp>,
    /// Sums of maps, by the path of the block that reads them (`block4.sum`).
    pub sums: BTreeMap<String, QuantisedSum>,
    /// Free text: net, samples, and the float weights' fingerprint.
    pub notes: BTreeMap<String, String>,
}

/// The file of a net's quantised weights, beside its float ones in `folder`.
pub fn file(folder: &Path, net: &str) -> PathBuf {
    folder.join(format!("{net}.int8.safetensors"))
}

/// A number that changes with any of the weights (FNV-1a over their bits).
fn fingerprint(weights: &Weights) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for (name, array) in &weights.arrays {
        for bits in name.bytes().map(u32::from).chain(array.data.iter().map(|v| v.to_bits())) {
            hash = (hash ^ u64::from(bits)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

impl Quantised {
    /// Notes which weights these were made from.
    pub(super) fn note_origin(&mut self, weights: &Weights) {
        self.notes.insert(ORIGIN.into(), fingerprint(weights));
    }

    /// Whether these were made from `weights`.
    pub fn is_made_from(&self, weights: &Weights) -> bool {
        self.notes.get(ORIGIN).is_some_and(|origin| *origin == fingerprint(weights))
    }

    /// The arrays of an operation.
    ///
    /// # Errors
    /// If there are none.
    pub(super) fn op(&self, op: &Op) -> Result<&QuantisedOp> {
        self.ops.get(&op.path).ok_or_else(|| {
            let origin = self.notes.get("net").cloned().unwrap_or_else(|| "(in memory)".into());
            Error::Weights { origin, reason: format!("{} is missing", op.path) }
        })
    }

    /// Checks that the arrays of every operation of `net` are there and have its shapes, that no other is there, and that no sum can leave
    /// 32 bits.
    ///
    /// # Errors
    /// Names the first layer at fault; `origin` (the file) stands at the head of the message.
    pub fn check(&self, net: &Net, origin: &str) -> Result<()> {
        let fail = |reason| Error::Weights { origin: origin.into(), reason };
        let mut paths = Vec::new();
        let lowered = net.lower(Purpose::Inference)?;
        lowered.map(|op| {
            let Some(arrays) = &op.arrays else { return Ok(()) };
            paths.push(op.path.clone());
            let Some(found) = self.ops.get(&op.path) else {
                return Err(fail(format!("{} is missing; are these weights of the net {}?", op.path, net.name)));
            };
            let (len, outputs) = (arrays.weight.iter().product::<usize>(), op.output.c);
            let lengths = [found.bias.len(), found.multiplier.len(), found.zero.len()];
            if found.weight.len() != len || lengths != [outputs; 3] {
                return Err(fail(format!("{} does not have the shape that the net {} needs", op.path, net.name)));
            }
            // Some instruction sets multiply pairs of bytes in 16 bits.
            if found.weight.contains(&i8::MIN) {
                return Err(fail(format!(
                    "{}: a weight is −128; write the file again with `facecascade quantise`",
                    op.path
                )));
            }
            let bounded = (0..outputs).all(|o| found.is_bounded(o));
            if bounded { Ok(()) } else { Err(fail(format!("{}: its sums do not fit in 32 bits", op.path))) }
        })?;
        let sums = (1..lowered.maps()).filter_map(|map| {
            let (fine, coarse) = lowered.map_of(map).0?.maps();
            coarse.map(|_| (sum_path(map), lowered.map_of(fine).1.output.c))
        });
        for (path, channels) in sums {
            if !self.sums.get(&path).is_some_and(|sum| sum.is_sound(channels)) {
                return Err(fail(format!(
                    "{path} is missing, has another number of channels than {channels}, or no finite numbers"
                )));
            }
            paths.push(path);
        }
        match self.ops.keys().chain(self.sums.keys()).find(|path| !paths.contains(path)) {
            Some(path) => Err(fail(format!("{path} does not belong to the net {}", net.name))),
            None => Ok(()),
        }
    }

    /// Reads a safetensors file's bytes; `origin` names them in errors.
    ///
    /// # Errors
    /// If the bytes are cut or an array has another type than its name asks for.
    pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Self> {
        let fail = |reason: String| Error::Weights { origin: origin.into(), reason };
        let cut = |e| fail(format!("not a whole safetensors file ({e})"));
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(cut)?;
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(cut)?;
        let (mut ops, mut sums) = (BTreeMap::<String, QuantisedOp>::new(), BTreeMap::<String, QuantisedSum>::new());
        for (name, view) in file.iter() {
            let data = view.data();
            let (path, array) = name.rsplit_once('.').unwrap_or(("", name));
            let wrong = || fail(format!("{name} is {:?}: not an array of 8-bit weights", view.dtype()));
            if path.ends_with(".sum") {
                let sum = sums.entry(path.to_owned()).or_default();
                let floats = || fours(data).map(f32::from_le_bytes).collect();
                match (array, view.dtype()) {
                    ("fine", Dtype::F32) => sum.fine = floats(),
                    ("coarse", Dtype::F32) => sum.coarse = floats(),
                    ("offset", Dtype::F32) => sum.offset = floats(),
                    ("zero", Dtype::U8) => sum.zero = data.to_vec(),
                    _ => return Err(wrong()),
                }
                continue;
            }
            let op = ops.entry(path.to_owned()).or_default();
            match (array, view.dtype()) {
                ("weight", Dtype::I8) => op.weight = data.iter().map(|v| v.cast_signed()).collect(),
                ("bias", Dtype::I32) => op.bias = fours(data).map(i32::from_le_bytes).collect(),
                ("multiplier", Dtype::F32) => op.multiplier = fours(data).map(f32::from_le_bytes).collect(),
                ("zero", Dtype::U8) => op.zero = data.to_vec(),
                _ => return Err(wrong()),
            }
        }
        let notes = metadata.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { ops, sums, notes })
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// If it can't be read, or as [`Self::from_bytes`].
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Writes a safetensors file: to a temporary file beside it, which is then renamed.
    ///
    /// # Errors
    /// If the folder can't be written to.
    pub fn save(&self, path: &Path) -> Result<()> {
        let fail = |e: safetensors::SafeTensorError| Error::Weights {
            origin: path.display().to_string(),
            reason: e.to_string(),
        };
        let mut tensors = Vec::new();
        for (name, op) in &self.ops {
            let arrays: [(&str, Dtype, usize, &[u8]); 4] = [
                ("weight", Dtype::I8, op.weight.len(), bytemuck::cast_slice(&op.weight)),
                ("bias", Dtype::I32, op.bias.len(), bytemuck::cast_slice(&op.bias)),
                ("multiplier", Dtype::F32, op.multiplier.len(), bytemuck::cast_slice(&op.multiplier)),
                ("zero", Dtype::U8, op.zero.len(), &op.zero),
            ];
            for (array, dtype, len, bytes) in arrays {
                let view = TensorView::new(dtype, vec![len], bytes).map_err(fail)?;
                tensors.push((format!("{name}.{array}"), view));
            }
        }
        for (name, sum) in &self.sums {
            let floats = |of: &'_ [f32]| -> (Dtype, usize) { (Dtype::F32, of.len()) };
            let arrays: [(&str, (Dtype, usize), &[u8]); 4] = [
                ("fine", floats(&sum.fine), bytemuck::cast_slice(&sum.fine)),
                ("coarse", floats(&sum.coarse), bytemuck::cast_slice(&sum.coarse)),
                ("offset", floats(&sum.offset), bytemuck::cast_slice(&sum.offset)),
                ("zero", (Dtype::U8, sum.zero.len()), &sum.zero),
            ];
            for (array, (dtype, len), bytes) in arrays {
                tensors.push((format!("{name}.{array}"), TensorView::new(dtype, vec![len], bytes).map_err(fail)?));
            }
        }
        let notes: HashMap<String, String> = self.notes.clone().into_iter().collect();
        let bytes = safetensors::serialize(tensors, Some(notes)).map_err(fail)?;
        write_whole(path, &bytes)
    }
}

impl QuantisedSum {
    /// Whether all numbers of so many channels are there, and finite.
    fn is_sound(&self, channels: usize) -> bool {
        let numbers = [&self.fine, &self.coarse, &self.offset];
        self.zero.len() == channels
            && numbers.iter().all(|list| list.len() == channels && list.iter().all(|v| v.is_finite()))
    }
}

impl QuantisedOp {
    /// Whether every sum of output `o`, and its product with the multiplier, fits in 32 bits.
    fn is_bounded(&self, o: usize) -> bool {
        let column = self.weight.iter().skip(o).step_by(self.bias.len());
        let greatest = column.map(|w| 255 * i64::from(w.unsigned_abs())).sum::<i64>() + i64::from(self.bias[o]).abs();
        let most = i64::from(i32::MAX) / 2;
        greatest < most && (greatest as f64 * f64::from(self.multiplier[o]).abs()) < most as f64
    }
}

fn fours(data: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    data.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]])
}
