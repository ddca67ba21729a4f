//! Numbers that are none: noticed when the device is asked next, told with the step and its rows.

use anyhow::{Result, bail};
use burn::tensor::{Tensor, backend::AutodiffBackend};

/// Steps whose figures are left unread at most.
pub const MOST_UNREAD: usize = 128;

/// A step's figures, on the device until they are needed.
pub struct Unread<B: AutodiffBackend> {
    pub step: usize,
    /// Places of its rows in the training set.
    pub rows: Vec<usize>,
    /// `[1]`
    pub loss: Tensor<B::InnerBackend, 1>,
    /// `[1]`
    pub grad_norm: Tensor<B::InnerBackend, 1>,
}

/// Stops a run whose numbers are none, before anything more is saved: the optimizer made nothing of them.
pub fn check_finite<B: AutodiffBackend>(unread: &[Unread<B>]) -> Result<()> {
    if unread.is_empty() {
        return Ok(());
    }
    let figures = unread.iter().flat_map(|unread| [unread.loss.clone(), unread.grad_norm.clone()]).collect();
    let figures: Vec<f64> = Tensor::cat(figures, 0).into_data().iter::<f64>().collect();
    let bad =
        unread.iter().zip(figures.chunks(2)).find(|(_, figures)| !figures.iter().all(|figure| figure.is_finite()));
    if let Some((Unread { step, rows, .. }, figures)) = bad {
        let mut rows: Vec<usize> = rows.iter().map(|row| row + 1).collect();
        rows.sort_unstable();
        let rows = rows.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let what = format!("the loss is {} and the gradient norm {}", figures[0], figures[1]);
        bail!("{}\nThat step was not made. Its rows in train_file: {rows}", diverged(&what, *step));
    }
    Ok(())
}

pub fn diverged(what: &str, step: usize) -> String {
    format!(
        "{what} at step {step}: training has diverged. The last checkpoint is intact; lower training.learning_rate or raise \
         training.warmup_steps"
    )
}
