//! Matrix products on the CPU: f32 activations with frozen weights in the file's own type, f32 or bf16.
//!
//! Half the bytes is half the memory of a model and half the time of decoding, which only reads weights. A bf16 value
//! is the upper half of an f32, so widening loses nothing: products are the same as with widened weights.

use std::cell::RefCell;

use gemm::Parallelism;
use half::bf16;
use multiversion::multiversion;
use pulp::bytemuck::try_cast_slice;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// A frozen matrix `[rows, columns]`, row by row.
#[derive(Debug, Clone, Copy)]
pub enum Weights<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

/// Up to so many tokens a product is bound by reading the weights, and each row is read once.
const FEW_TOKENS: usize = 24;
/// Values widened at a time: 4 MB, which stay in the cache until they are multiplied.
const WIDENED: usize = 1 << 20;
/// Multiplications below which other threads are not worth waking.
const WORTH_THREADS: usize = 1 << 19;

/// y = x W^T
///
/// # Shapes
/// x `[tokens, columns]`, W `[rows, columns]` -> `[tokens, rows]`
pub fn times_transposed(x: &[f32], weights: Weights, columns: usize) -> Vec<f32> {
    let (tokens, rows) = (x.len() / columns, weights.len() / columns);
    if tokens <= FEW_TOKENS && columns.is_multiple_of(2) {
        match weights {
            Weights::F32(values) => return few_tokens(x, tokens, values, columns),
            Weights::Bf16(values) => {
                // Always so for memory from an allocator, and on processors that put the lower half first.
                if let Ok(words) = try_cast_slice(values)
                    && cfg!(target_endian = "little")
                {
                    return few_tokens::<u32>(x, tokens, words, columns / 2);
                }
            }
        }
    }
    let mut y = vec![0.0; tokens * rows];
    weights.in_blocks(columns, |start, block| {
        let block = View::new(block, columns);
        let y = ViewMut { values: &mut y[start..], rows: tokens, columns: block.rows, row_stride: rows };
        product(y, Write::Replace, 1.0, View::new(x, columns), block.transposed());
    });
    y
}

/// y = x W
///
/// # Shapes
/// x `[tokens, rows]`, W `[rows, columns]` -> `[tokens, columns]`
pub fn times(x: &[f32], weights: Weights, columns: usize) -> Vec<f32> {
    let rows = weights.len() / columns;
    let tokens = x.len() / rows;
    let mut y = vec![0.0; tokens * columns];
    weights.in_blocks(columns, |start, block| {
        let block = View::new(block, columns);
        let x = View { values: &x[start..], rows: tokens, columns: block.rows, row_stride: rows, column_stride: 1 };
        product(ViewMut::new(&mut y, columns), Write::Add, 1.0, x, block);
    });
    y
}

impl Weights<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Hands out the matrix in f32, in blocks of rows with the number of their first row.
    fn in_blocks(&self, columns: usize, mut f: impl FnMut(usize, &[f32])) {
        thread_local! {
            static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        match self {
            Self::F32(values) => f(0, values),
            Self::Bf16(values) => SCRATCH.with_borrow_mut(|scratch| {
                let rows = (WIDENED / columns).max(1);
                for (number, block) in values.chunks(rows * columns).enumerate() {
                    scratch.resize(block.len(), 0.0);
                    let parts = scratch.par_chunks_mut(1 << 14).zip(block.par_chunks(1 << 14));
                    parts.for_each(|(wide, narrow)| widen(narrow, wide));
                    f(number * rows, scratch);
                }
            }),
        }
    }
}

#[multiversion(targets = "simd")]
fn widen(narrow: &[bf16], wide: &mut [f32]) {
    for (wide, narrow) in wide.iter_mut().zip(narrow) {
        // Without `half`'s test for NaN, which keeps the loop from becoming vector instructions; weights hold none.
        *wide = f32::from_bits((narrow.to_bits() as u32) << 16);
    }
}

/// A matrix in a slice; element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// Row by row.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// Some of the columns.
    pub fn part(self, first: usize, columns: usize) -> Self {
        Self { values: &self.values[first * self.column_stride..], columns, ..self }
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix to write, with rows `row_stride` apart.
pub struct ViewMut<'a> {
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> ViewMut<'a> {
    pub fn new(values: &'a mut [f32], columns: usize) -> Self {
        Self { rows: values.len() / columns, values, columns, row_stride: columns }
    }

    /// Some of the columns.
    pub fn part(self, first: usize, columns: usize) -> Self {
        Self { values: &mut self.values[first..], columns, ..self }
    }
}

/// What becomes of the values that were there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// y = scale a b, or y += scale a b. Every sum has a fixed order, whatever the number of threads.
pub fn product(y: ViewMut, write: Write, scale: f32, a: View, b: View) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let holds = |len: usize, rows: usize, columns: usize, row_stride: usize, column_stride: usize| {
        rows == 0 || columns == 0 || (rows - 1) * row_stride + (columns - 1) * column_stride < len
    };
    assert!(
        b.rows == k && y.rows == m && y.columns == n,
        "[{m}, {k}] x [{}, {n}] -> [{}, {}]",
        b.rows,
        y.rows,
        y.columns
    );
    assert!(holds(a.values.len(), m, k, a.row_stride, a.column_stride));
    assert!(holds(b.values.len(), k, n, b.row_stride, b.column_stride));
    assert!(holds(y.values.len(), m, n, y.row_stride, 1));
    let threads = if m * n * k < WORTH_THREADS { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: all three matrices lie within their slices, as was asserted, and `y` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.values.as_mut_ptr(),
            1,
            y.row_stride as isize,
            write == Write::Add,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}

/// y = x W^T, each row of W read once. A sum's order does not depend on the number of tokens or threads.
///
/// `width`: stored words in a row.
fn few_tokens<E: Stored>(x: &[f32], tokens: usize, weights: &[E], width: usize) -> Vec<f32> {
    let rows = weights.len() / width;
    let x = x.chunks_exact(x.len() / tokens).flat_map(E::arrange).collect::<Vec<f32>>();
    let mut y = vec![0.0; tokens * rows];
    let whole = weights.len() * tokens < WORTH_THREADS / 4;
    let read_by_task = (weights.len() / (TASKS_PER_THREAD * rayon::current_num_threads())).max(READ_BY_TASK);
    let rows_per_task = if whole { rows } else { (read_by_task / width).max(1).next_multiple_of(ROWS) };
    // For each task, its part of every token's output.
    let mut parts: Vec<Vec<&mut [f32]>> = (0..rows.div_ceil(rows_per_task)).map(|_| Vec::new()).collect();
    for token in y.chunks_mut(rows) {
        parts.iter_mut().zip(token.chunks_mut(rows_per_task)).for_each(|(parts, part)| parts.push(part));
    }
    let run = |(y, weights): (Vec<&mut [f32]>, &[E])| Arch::new().dispatch(DotRows { x: &x, weights, width, y });
    if whole {
        parts.into_iter().zip(weights.chunks(rows_per_task * width)).for_each(run);
    } else {
        parts.into_par_iter().zip(weights.par_chunks(rows_per_task * width)).for_each(run);
    }
    y
}

/// Words that a task reads at least, to be worth its start, and tasks for each thread, to keep all busy to the end.
const READ_BY_TASK: usize = 1 << 14;
const TASKS_PER_THREAD: usize = 4;

/// How a row of weights is stored and read as two halves of f32 values.
trait Stored: Copy + Send + Sync {
    /// Bytes of a value of each half.
    const PAIR: usize;
    /// Vectors of a row, to take pairs from.
    type Row<'a, S: Simd>: Copy;

    /// A token's values in the order of the halves.
    fn arrange(x: &[f32]) -> Vec<f32>;

    fn row<S: Simd>(row: &[Self]) -> Self::Row<'_, S>;

    /// Vector number `i` of both halves.
    fn vectors<S: Simd>(simd: S, row: Self::Row<'_, S>, i: usize) -> [S::f32s; 2];

    /// Value number `i` of both halves.
    fn values(row: &[Self], i: usize) -> [f32; 2];
}

impl Stored for f32 {
    const PAIR: usize = 8;
    type Row<'a, S: Simd> = [&'a [S::f32s]; 2];

    fn arrange(x: &[f32]) -> Vec<f32> {
        x.to_vec()
    }

    #[inline(always)]
    fn row<S: Simd>(row: &[Self]) -> Self::Row<'_, S> {
        let (first, second) = row.split_at(row.len() / 2);
        [S::as_simd_f32s(first).0, S::as_simd_f32s(second).0]
    }

    #[inline(always)]
    fn vectors<S: Simd>(_: S, row: Self::Row<'_, S>, i: usize) -> [S::f32s; 2] {
        [row[0][i], row[1][i]]
    }

    #[inline(always)]
    fn values(row: &[Self], i: usize) -> [f32; 2] {
        [row[i], row[row.len() / 2 + i]]
    }
}

/// Two bf16 values in a word. Each is the upper half of an f32, so that a shift and a mask widen them.
impl Stored for u32 {
    const PAIR: usize = 4;
    type Row<'a, S: Simd> = &'a [S::u32s];

    fn arrange(x: &[f32]) -> Vec<f32> {
        x.iter().step_by(2).chain(x.iter().skip(1).step_by(2)).copied().collect()
    }

    #[inline(always)]
    fn row<S: Simd>(row: &[Self]) -> Self::Row<'_, S> {
        S::as_simd_u32s(row).0
    }

    #[inline(always)]
    fn vectors<S: Simd>(simd: S, row: Self::Row<'_, S>, i: usize) -> [S::f32s; 2] {
        let lower = simd.wrapping_dyn_shl_u32s(row[i], simd.splat_u32s(16));
        let upper = simd.and_u32s(row[i], simd.splat_u32s(0xFFFF_0000));
        [simd.transmute_f32s_u32s(lower), simd.transmute_f32s_u32s(upper)]
    }

    #[inline(always)]
    fn values(row: &[Self], i: usize) -> [f32; 2] {
        [f32::from_bits(row[i] << 16), f32::from_bits(row[i] & 0xFFFF_0000)]
    }
}

/// `y[token][row] = x[token] . w[row]`, one row after the other: memory is read in one stream.
struct DotRows<'a, E> {
    x: &'a [f32],
    weights: &'a [E],
    width: usize,
    y: Vec<&'a mut [f32]>,
}

/// Rows and tokens that are multiplied with each other at a time: as many sums as there are registers for.
const ROWS: usize = 2;
const TOKENS: usize = 4;

impl<E: Stored> WithSimd for DotRows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weights, width, mut y } = self;
        let (tokens, columns) = (y.len(), x.len() / y.len());
        let token = |token: usize| &x[token * columns..(token + 1) * columns];
        for (number, rows) in weights.chunks(ROWS * width).enumerate() {
            let (row, mut first) = (number * ROWS, 0);
            while first < tokens {
                let many = tokens - first >= TOKENS;
                let four = || [token(first), token(first + 1), token(first + 2), token(first + 3)];
                let (one, two) = rows.split_at(width);
                match (many, two.is_empty()) {
                    (true, true) => store(dots(simd, four(), [one]), &mut y[first..], row),
                    (true, false) => store(dots(simd, four(), [one, two]), &mut y[first..], row),
                    (false, true) => store(dots(simd, [token(first)], [one]), &mut y[first..], row),
                    // In turn: for one token, one stream from memory is faster than two.
                    (false, false) => {
                        store(dots(simd, [token(first)], [one]), &mut y[first..], row);
                        store(dots(simd, [token(first)], [two]), &mut y[first..], row + 1);
                    }
                }
                first += if many { TOKENS } else { 1 };
            }
        }
    }
}

/// Bytes between what is multiplied and what is asked for meanwhile: about the time that memory takes to answer.
const AHEAD: usize = 16384;
const CACHE_LINE: usize = 64;

/// Asks for memory that is needed soon, which doubled the speed of a few tokens.
#[inline(always)]
fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing; the place may even lie outside of any memory.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(place.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

#[inline(always)]
fn store<const T: usize, const R: usize>(products: [[f32; T]; R], y: &mut [&mut [f32]], row: usize) {
    for (i, products) in products.iter().enumerate() {
        for (y, product) in y.iter_mut().zip(products) {
            y[row + i] = *product;
        }
    }
}

/// The products of `R` rows with `T` tokens, each in two sums beside each other.
#[inline(always)]
fn dots<S: Simd, E: Stored, const T: usize, const R: usize>(simd: S, x: [&[f32]; T], rows: [&[E]; R]) -> [[f32; T]; R] {
    let half = x[0].len() / 2;
    let (vectors, rest) = (half / S::F32_LANES, half - half % S::F32_LANES..half);
    let mut halves: [[&[S::f32s]; 2]; T] = [[&[]; 2]; T];
    for (halves, x) in halves.iter_mut().zip(x) {
        *halves = [&S::as_simd_f32s(&x[..half]).0[..vectors], &S::as_simd_f32s(&x[half..]).0[..vectors]];
    }
    let mut w = [E::row::<S>(rows[0]); R];
    for (w, row) in w.iter_mut().zip(rows) {
        *w = E::row::<S>(row);
    }
    let mut sums = [[[simd.splat_f32s(0.0); 2]; T]; R];
    let mut i = 0;
    while i < vectors {
        for row in 0..R {
            let vectors = E::PAIR * S::F32_LANES;
            for line in (0..vectors).step_by(CACHE_LINE) {
                prefetch(rows[row].as_ptr().wrapping_byte_add(AHEAD + i * vectors + line));
            }
            let [first, second] = E::vectors(simd, w[row], i);
            for token in 0..T {
                let sums = &mut sums[row][token];
                sums[0] = simd.mul_add_e_f32s(first, halves[token][0][i], sums[0]);
                sums[1] = simd.mul_add_e_f32s(second, halves[token][1][i], sums[1]);
            }
        }
        i += 1;
    }
    let mut products = [[0.0; T]; R];
    for row in 0..R {
        for token in 0..T {
            let [first, second] = sums[row][token];
            let mut product = simd.reduce_sum_f32s(simd.add_f32s(first, second));
            for i in rest.clone() {
                let [first, second] = E::values(rows[row], i);
                product += first * x[token][i] + second * x[token][half + i];
            }
            products[row][token] = product;
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .take(len)
        .collect()
    }

    fn plain(x: &[f32], w: &[f32], columns: usize) -> Vec<f64> {
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(x, w)| *x as f64 * *w as f64).sum();
        x.chunks(columns).flat_map(|x| w.chunks(columns).map(move |w| dot(x, w))).collect()
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((*found as f64 - expected).abs() < 1e-4, "{found} instead of {expected}");
        }
    }

    #[test]
    fn products_equal_plain_sums_for_any_number_of_tokens_rows_and_columns() {
        for tokens in [1, 2, 4, 7, 8, 9, 33] {
            for (rows, columns) in [(1, 1), (3, 17), (64, 16), (70, 100), (1200, 896)] {
                let (x, w) = (numbers(tokens * columns, 1), numbers(rows * columns, 2));
                let narrow: Vec<bf16> = w.iter().map(|w| bf16::from_f32(*w)).collect();
                let widened: Vec<f32> = narrow.iter().map(|w| w.to_f32()).collect();
                assert_close(&times_transposed(&x, Weights::F32(&w), columns), &plain(&x, &w, columns));
                assert_close(&times_transposed(&x, Weights::Bf16(&narrow), columns), &plain(&x, &widened, columns));

                let y = numbers(tokens * rows, 3);
                let transposed: Vec<f32> = (0..columns)
                    .flat_map(|c| (0..rows).map(move |r| (r, c)))
                    .map(|(r, c)| widened[r * columns + c])
                    .collect();
                assert_close(&times(&y, Weights::F32(&widened), columns), &plain(&y, &transposed, rows));
                assert_close(&times(&y, Weights::Bf16(&narrow), columns), &plain(&y, &transposed, rows));
            }
        }
    }

    #[test]
    fn a_tokens_product_does_not_depend_on_the_tokens_beside_it() {
        let (columns, x) = (100, numbers(800, 1));
        let w: Vec<bf16> = numbers(7000, 2).into_iter().map(bf16::from_f32).collect();
        let together = times_transposed(&x, Weights::Bf16(&w), columns);
        let alone: Vec<f32> = x.chunks(columns).flat_map(|x| times_transposed(x, Weights::Bf16(&w), columns)).collect();
        assert_eq!(together, alone);
    }
}
