//! The CPU's matrix products at the shapes of Qwen2.5-0.5B, against the floors: reading each weight once, and the
//! machine's arithmetic. `cargo bench --bench kernels`

use std::time::Instant;

use burn::backend::Flex;
use burn::tensor::{DType, Distribution, Tensor};
use qwen_lora::kernels::{linear, linear_backward};

fn main() {
    println!("{:>16} {:>6} {:>7} {:>10} {:>8} {:>9}", "[out, in]", "type", "tokens", "ms", "GB/s", "GFLOP/s");
    for [rows, columns] in [[896, 896], [4864, 896], [896, 4864], [151_936, 896]] {
        for dtype in [DType::BF16, DType::F32] {
            let weight = Tensor::<Flex, 2>::random([rows, columns], Distribution::Default, &Default::default());
            let weight = weight.cast(dtype);
            for tokens in [1, 4, 8, 16, 32, 128, 704] {
                if tokens == 704 && rows > 10_000 {
                    continue;
                }
                let x = Tensor::<Flex, 2>::random([tokens, columns], Distribution::Default, &Default::default());
                report(&format!("[{rows}, {columns}]"), dtype, [tokens, rows, columns], || {
                    linear(x.clone(), &weight, None);
                });
            }
            let y = Tensor::<Flex, 2>::random([704, rows.min(4864)], Distribution::Default, &Default::default());
            if rows < 10_000 {
                report("backward", dtype, [704, rows, columns], || {
                    linear_backward(y.clone(), &weight);
                });
            }
        }
    }
}

fn report(name: &str, dtype: DType, [tokens, rows, columns]: [usize; 3], f: impl Fn()) {
    f();
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let started = Instant::now();
            f();
            started.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let bytes = (rows * columns * dtype.size()) as f64;
    let operations = (2 * tokens * rows * columns) as f64;
    println!(
        "{name:>16} {:>6} {tokens:>7} {:>10.3} {:>8.1} {:>9.1}",
        format!("{dtype:?}"),
        1e3 * seconds,
        bytes / seconds / 1e9,
        operations / seconds / 1e9
    );
}
