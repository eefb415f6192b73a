//! Which cells a face is learned by: SimOTA (Ge et al. 2021, YOLOX). Each face takes the cells that predict it best so far, as many
//! as their boxes agree with it.

use crate::geometry::Rect;

/// Cells within so many strides of a face's centre, along either axis, may be assigned to it.
const CENTRE_RADIUS: f32 = 2.5;
/// Cells whose IoUs say how many a face gets.
const BEST: usize = 10;
/// Weight of −ln IoU beside the cross-entropy of the score.
const BOX_COST: f32 = 3.0;
/// Added for a cell that is not both inside the face and near its centre.
const FAR: f32 = 1e5;

/// A cell and what it predicts at present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    /// Square of one stride round the cell's centre.
    pub window: Rect,
    /// The predicted box.
    pub rect: Rect,
    /// The predicted score, 0..1: √(class · objectness).
    pub score: f32,
}

/// A cell's face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Assigned {
    /// Number of the face.
    pub face: usize,
    /// IoU of the predicted box with it.
    pub iou: f32,
}

/// Whether a cell's centre lies in a face, and whether it lies near the face's centre.
fn near(cell: &Cell, face: &Rect) -> (bool, bool) {
    let (x, y) = cell.window.center();
    let inside = x > face.x && x < face.x + face.w && y > face.y && y < face.y + face.h;
    let (fx, fy) = face.center();
    let radius = CENTRE_RADIUS * cell.window.w;
    (inside, (x - fx).abs() < radius && (y - fy).abs() < radius)
}

/// Returns each cell's face; `None` is background.
pub(crate) fn assign(cells: &[Cell], faces: &[Rect]) -> Vec<Option<Assigned>> {
    let mut assigned: Vec<Option<Assigned>> = vec![None; cells.len()];
    let mut costs = vec![f32::INFINITY; cells.len()];
    let may = |cell: &Cell| faces.iter().any(|face| matches!(near(cell, face), (true, _) | (_, true)));
    let candidates: Vec<usize> = (0..cells.len()).filter(|i| may(&cells[*i])).collect();
    let mut list: Vec<(f32, usize, f32)> = Vec::with_capacity(candidates.len());
    let mut ious: Vec<f32> = Vec::with_capacity(candidates.len());
    for (number, face) in faces.iter().enumerate() {
        list.clear();
        list.extend(candidates.iter().map(|&i| {
            let cell = &cells[i];
            let iou = cell.rect.iou(face);
            let far = if near(cell, face) == (true, true) { 0.0 } else { FAR };
            (-cell.score.max(1e-8).ln() - BOX_COST * iou.max(1e-8).ln() + far, i, iou)
        }));
        ious.clear();
        ious.extend(list.iter().map(|c| c.2));
        ious.sort_unstable_by(|a, b| b.total_cmp(a));
        let count = (ious.iter().take(BEST).sum::<f32>() as usize).clamp(1, list.len().max(1));
        if count < list.len() {
            list.select_nth_unstable_by(count, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        }
        for &(cost, i, iou) in list.iter().take(count) {
            // A cell that several faces want goes to the one it costs least.
            if cost < costs[i] {
                costs[i] = cost;
                assigned[i] = Some(Assigned { face: number, iou });
            }
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 8 × 8 cells of stride 8, each of which predicts `rect`.
    fn cells(rect: impl Fn(f32, f32) -> Rect) -> Vec<Cell> {
        let at = |i: usize| (i % 8) as f32 * 8.0 + 4.0;
        (0..64)
            .map(|i| {
                let (x, y) = (at(i), at(i / 8));
                Cell { window: Rect::square(x, y, 8.0), rect: rect(x, y), score: 0.1 }
            })
            .collect()
    }

    #[test]
    fn a_face_that_no_cell_finds_yet_gets_the_cell_that_comes_nearest() {
        let face = Rect::square(20.0, 28.0, 16.0);
        let assigned = assign(&cells(|x, y| Rect::square(x, y, 8.0)), &[face]);
        let faces: Vec<usize> = (0..64).filter(|i| assigned[*i].is_some()).collect();
        assert!(!faces.is_empty() && faces.len() <= 2, "{faces:?}");
        assert!(faces.iter().all(|i| near(&cells(|x, y| Rect::square(x, y, 8.0))[*i], &face) == (true, true)));
    }

    #[test]
    fn a_face_that_cells_agree_on_gets_as_many_as_agree() {
        let face = Rect::square(28.0, 28.0, 30.0);
        let assigned = assign(&cells(|_, _| face), &[face]);
        assert_eq!(assigned.iter().flatten().count(), 10);
        assert!(assigned.iter().flatten().all(|a| a.face == 0 && (a.iou - 1.0).abs() < 1e-5));
    }

    #[test]
    fn a_cell_that_two_faces_want_goes_to_the_one_it_fits() {
        let faces = [Rect::square(20.0, 28.0, 20.0), Rect::square(32.0, 28.0, 20.0)];
        let assigned = assign(&cells(|x, _| faces[usize::from(x > 26.0)]), &faces);
        for (i, a) in assigned.iter().enumerate() {
            assert!(a.is_none_or(|a| a.iou < 0.5 || a.face == usize::from((i % 8) * 8 + 4 > 26)), "{i}: {a:?}");
        }
        assert!((0..2).all(|f| assigned.iter().flatten().any(|a| a.face == f)));
        assert!(assign(&cells(|_, _| faces[0]), &[]).iter().all(Option::is_none));
    }
}
