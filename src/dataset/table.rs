//! Reads CSV files with a header row by row. Errors name the file and the line.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Calls `row` with each row of the CSV file; further columns are ignored. What `row` refuses becomes an error that names the
/// line.
///
/// # Errors
/// If the file is missing or not UTF-8, a column is missing, a cell has the wrong type, or `row` refuses a row.
pub(super) fn for_each<T: DeserializeOwned>(
    path: &Path,
    mut row: impl FnMut(T) -> std::result::Result<(), String>,
) -> Result<()> {
    let file = std::fs::File::open(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::data(path, "no such file; --data must point to the data folder that holds it")
        }
        _ => Error::Io { path: path.to_owned(), source: e },
    })?;
    let mut reader = csv::Reader::from_reader(std::io::BufReader::with_capacity(1 << 18, file));
    let headers = reader.headers().map_err(|e| explain(path, &csv::StringRecord::new(), e))?.clone();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|e| explain(path, &headers, e))? {
        let parsed = record.deserialize(Some(&headers)).map_err(|e| explain(path, &headers, e))?;
        row(parsed).map_err(|reason| {
            let line = record.position().map_or(0, csv::Position::line);
            Error::data(path, format!("line {line}: {reason}"))
        })?;
    }
    Ok(())
}

/// Says what is wrong with the CSV file and what to do.
fn explain(path: &Path, headers: &csv::StringRecord, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    let place = line.map(|n| format!("line {n}: ")).unwrap_or_default();
    let reason = match error.into_kind() {
        csv::ErrorKind::Io(source) => return Error::Io { path: path.to_owned(), source },
        csv::ErrorKind::Deserialize { err, .. } => match err.field() {
            Some(field) => {
                let column = headers.get(field as usize).unwrap_or("?");
                format!("column `{column}`: {}; correct or remove the row", err.kind())
            }
            // serde speaks of missing fields by name.
            None => format!("{}; the columns are: {}", err.kind(), headers.iter().collect::<Vec<_>>().join(", ")),
        },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} columns where the header has {expected_len}; correct or remove the row")
        }
        csv::ErrorKind::Utf8 { err, .. } => format!("{err}; save the file as UTF-8"),
        other => format!("{other:?}"),
    };
    Error::data(path, format!("{place}{reason}"))
}
