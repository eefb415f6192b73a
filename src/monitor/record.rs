//! One line of a run's record, read leniently: what is missing stays empty, numbers that are none are read however they are written,
//! and what the monitor does not know is passed over. So records of older and newer versions are read, and damaged ones as far as they go.

use std::borrow::Cow;

use serde::Deserialize;

use crate::train::events::number;

/// A line of `events.jsonl`; the fields are those of [`crate::train::events::Event`].
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow)]
    pub stage: Cow<'a, str>,
    pub step: Option<u32>,
    pub steps: Option<u32>,
    pub seed: Option<u64>,
    #[serde(deserialize_with = "number::optional")]
    pub loss: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub accuracy: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub rate: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub gradient_norm: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub samples_per_second: Option<f64>,
    pub samples: Option<u64>,
    #[serde(deserialize_with = "number::optional")]
    pub seconds: Option<f64>,
    pub sets: Vec<Measures>,
    pub set: Option<String>,
    #[serde(deserialize_with = "number::optional")]
    pub balanced_accuracy: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub auc: Option<f64>,
    pub pictures: Vec<Picture>,
}

/// The measures of one set of a validation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Measures {
    pub set: String,
    #[serde(deserialize_with = "number::optional")]
    pub ap_h20: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub ap_h40: Option<f64>,
    #[serde(deserialize_with = "number::optional")]
    pub recall_h20: Option<f64>,
}

/// A picture that training wrote.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Picture {
    /// Name within the run's folder.
    pub file: String,
    /// What the picture shows.
    pub shows: String,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` if it is no event. `spare` holds the line where it had to be mended.
    pub(super) fn read(line: &'a [u8], spare: &'a mut Vec<u8>) -> Option<Self> {
        match serde_json::from_slice(line) {
            Ok(line) => Some(line),
            Err(_) => {
                *spare = mended(line)?;
                serde_json::from_slice(spare).ok()
            }
        }
        .filter(|line: &Line<'_>| !line.event.is_empty())
    }
}

/// Puts numbers that JSON does not know (`NaN`, `Infinity`, as Python writes them) in quotation marks; `None` if there are none.
fn mended(line: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(line.len() + 16);
    let (mut at, mut in_string, mut found) = (0, false, false);
    while let Some(&byte) = line.get(at) {
        let rest = &line[at..];
        let word = [&b"-Infinity"[..], b"Infinity", b"NaN"].into_iter().find(|word| rest.starts_with(word));
        match (byte, word) {
            (_, Some(word)) if !in_string => {
                out.push(b'"');
                out.extend_from_slice(word);
                out.push(b'"');
                at += word.len();
                found = true;
                continue;
            }
            (b'"', _) => in_string = !in_string,
            (b'\\', _) if in_string => {
                out.push(byte);
                at += 1;
                if let Some(next) = line.get(at) {
                    out.push(*next);
                    at += 1;
                }
                continue;
            }
            _ => {}
        }
        out.push(byte);
        at += 1;
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::events::Event;
    use crate::train::validation::SetMeasures;

    #[test]
    fn what_training_writes_is_read() {
        let event = Event::Step {
            stage: "a".into(),
            step: 7,
            steps: 9,
            loss: f64::NAN,
            accuracy: 0.5,
            rate: 0.25,
            gradient_norm: Some(f64::INFINITY),
            samples: 16,
            samples_per_second: 4.0,
            multiply_adds_per_second: 8.0,
        };
        let (text, mut spare) = (serde_json::to_string(&event).unwrap(), Vec::new());
        let line = Line::read(text.as_bytes(), &mut spare).unwrap();
        assert_eq!((&*line.event, &*line.stage, line.step, line.steps), ("step", "a", Some(7), Some(9)));
        assert!(line.loss.unwrap().is_nan() && line.gradient_norm == Some(f64::INFINITY));
        assert_eq!((line.accuracy, line.rate, line.samples_per_second), (Some(0.5), Some(0.25), Some(4.0)));
        let set = SetMeasures { set: "val".into(), ap_h20: 0.5, ap_h40: 0.75, recall_h20: 1.0 };
        let event = Event::Validation {
            stage: "a".into(),
            step: 3,
            samples: 6,
            loss: Some(0.125),
            accuracy: None,
            sets: vec![set],
        };
        let text = serde_json::to_string(&event).unwrap();
        let line = Line::read(text.as_bytes(), &mut spare).unwrap();
        assert_eq!((line.loss, line.accuracy, line.sets[0].ap_h40), (Some(0.125), None, Some(0.75)));
    }

    #[test]
    fn numbers_that_json_does_not_know_are_read_and_strings_stay_as_they_are() {
        let mut spare = Vec::new();
        let text = br#"{"event":"step","stage":"a \"NaN\" Infinity","loss":NaN,"rate":-Infinity,"accuracy":null}"#;
        let line = Line::read(text, &mut spare).unwrap();
        assert_eq!(line.stage, "a \"NaN\" Infinity");
        assert!(line.loss.unwrap().is_nan() && line.accuracy.unwrap().is_nan());
        assert_eq!((line.rate, line.gradient_norm), (Some(f64::NEG_INFINITY), None));
    }

    #[test]
    fn junk_is_no_event() {
        let deep = format!("{{\"event\":\"step\",\"sets\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let cases: [&[u8]; 8] = [
            b"",
            b"NaN",
            b"{\"event\":\"step\",\"stage\":\"\xf0\x9f",
            b"{\"event\":\"step\",\"stage\":\"\xf0\x9f\"}",
            b"{\"event\":\"step\",\"loss\":{}}",
            b"[1,2]",
            b"{}",
            deep.as_bytes(),
        ];
        for case in cases {
            assert!(
                Line::read(case, &mut Vec::new()).is_none(),
                "{}",
                String::from_utf8_lossy(&case[..case.len().min(60)])
            );
        }
    }
}
