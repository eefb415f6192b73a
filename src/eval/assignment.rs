//! Finds the one-to-one assignment of greatest total weight (the Hungarian method, O(n²·m)).

/// A dense matrix of weights, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WeightMatrix {
    rows: usize,
    columns: usize,
    data: Vec<f64>,
}

impl WeightMatrix {
    /// Makes the matrix whose weight at (row, column) is `weight(row, column)`.
    pub(crate) fn from_fn(rows: usize, columns: usize, mut weight: impl FnMut(usize, usize) -> f64) -> Self {
        let data = (0..rows * columns).map(|i| weight(i / columns, i % columns)).collect();
        Self { rows, columns, data }
    }

    /// Returns the weight at a row and column, both from 0.
    pub(crate) fn at(&self, row: usize, column: usize) -> f64 {
        self.data[row * self.columns + column]
    }
}

/// Returns the pairs (row, column) of a one-to-one assignment that maximises the sum of weights (≥ 0), without pairs of weight
/// 0. Shortest augmenting paths with potentials (Kuhn 1955, Munkres 1957; Jonker & Volgenant's form).
pub(crate) fn maximum_weight(weights: &WeightMatrix) -> Vec<(usize, usize)> {
    // The method gives every row a column, so there must not be more rows than columns.
    let swapped = weights.rows > weights.columns;
    let (n, m) = if swapped { (weights.columns, weights.rows) } else { (weights.rows, weights.columns) };
    let cost = |i: usize, j: usize| if swapped { -weights.at(j, i) } else { -weights.at(i, j) };
    // Index 0 stands for "none"; rows and columns count from 1.
    let (mut row_potential, mut column_potential) = (vec![0.0; n + 1], vec![0.0; m + 1]);
    let mut row_of = vec![0; m + 1];
    for row in 1..=n {
        row_of[0] = row;
        let mut column = 0;
        let (mut least, mut used, mut way) = (vec![f64::INFINITY; m + 1], vec![false; m + 1], vec![0; m + 1]);
        while row_of[column] != 0 {
            used[column] = true;
            let i = row_of[column];
            let (mut step, mut next) = (f64::INFINITY, 0);
            for j in (1..=m).filter(|&j| !used[j]) {
                let reduced = cost(i - 1, j - 1) - row_potential[i] - column_potential[j];
                if reduced < least[j] {
                    (least[j], way[j]) = (reduced, column);
                }
                if least[j] < step {
                    (step, next) = (least[j], j);
                }
            }
            for j in 0..=m {
                if used[j] {
                    row_potential[row_of[j]] += step;
                    column_potential[j] -= step;
                } else {
                    least[j] -= step;
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[way[column]];
            column = way[column];
        }
    }
    (1..=m)
        .filter(|&j| row_of[j] != 0)
        .map(|j| if swapped { (j - 1, row_of[j] - 1) } else { (row_of[j] - 1, j - 1) })
        .filter(|&(row, column)| weights.at(row, column) > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brute_force(weights: &WeightMatrix, row: usize, taken: &mut Vec<usize>) -> f64 {
        if row == weights.rows {
            return 0.0;
        }
        let mut best = brute_force(weights, row + 1, taken);
        for column in 0..weights.columns {
            if !taken.contains(&column) {
                taken.push(column);
                best = best.max(weights.at(row, column) + brute_force(weights, row + 1, taken));
                taken.pop();
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_total_is_that_of_brute_force(rows in 1usize..6, columns in 1usize..6, cells in prop::collection::vec((0f64..1.0, 0..10), 25)) {
            // Three in ten do not touch at all, as most faces and detections do not.
            let weights = WeightMatrix::from_fn(rows, columns, |i, j| {
                let (weight, die) = cells[i * 5 + j];
                if die < 3 { 0.0 } else { weight }
            });
            let pairs = maximum_weight(&weights);
            let total: f64 = pairs.iter().map(|&(i, j)| weights.at(i, j)).sum();
            prop_assert!((total - brute_force(&weights, 0, &mut Vec::new())).abs() < 1e-9);
            for (n, a) in pairs.iter().enumerate() {
                for b in &pairs[..n] {
                    prop_assert!(a.0 != b.0 && a.1 != b.1);
                }
            }
        }
    }

    #[test]
    fn greed_does_not_pay() {
        let table = [[0.9, 0.8], [0.8, 0.1]];
        let mut pairs = maximum_weight(&WeightMatrix::from_fn(2, 2, |i, j| table[i][j]));
        pairs.sort_unstable();
        assert_eq!(pairs, [(0, 1), (1, 0)]);
        assert_eq!(maximum_weight(&WeightMatrix::from_fn(0, 3, |_, _| 1.0)), []);
    }
}
