//! Rotary position embeddings (Su et al., 2021) in Qwen2's rotate-half form: dimension i turns with i + head_dim/2.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};

/// Cosines and sines of every position on the host, `[positions, head_dim / 2]`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RotaryTables {
    pub cos: Arc<Vec<f32>>,
    pub sin: Arc<Vec<f32>>,
}

impl RotaryTables {
    pub fn new(head_dim: usize, theta: f64, positions: usize) -> Self {
        let half = head_dim / 2;
        // In f32 like transformers, so that long positions round as they do there.
        let inverse_frequency: Vec<f32> =
            (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect();
        let angles: Vec<f32> =
            (0..positions).flat_map(|p| inverse_frequency.iter().map(move |f| p as f32 * f)).collect();
        let table = |f: fn(f32) -> f32| Arc::new(angles.iter().map(|angle| f(*angle)).collect());
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }
}

/// The tables on the device, in f32.
#[derive(Module, Debug)]
pub struct RotaryEmbedding<B: Backend> {
    /// `[max_position_embeddings, head_dim / 2]`
    pub cos: Tensor<B, 2>,
    /// `[max_position_embeddings, head_dim / 2]`
    pub sin: Tensor<B, 2>,
    #[module(skip)]
    pub tables: RotaryTables,
}

impl<B: Backend> RotaryEmbedding<B> {
    pub fn new(head_dim: usize, theta: f64, positions: usize, device: &B::Device) -> Self {
        let tables = RotaryTables::new(head_dim, theta, positions);
        let tensor = |table: &Vec<f32>| {
            Tensor::from_data(TensorData::new(table.clone(), [positions, head_dim / 2]), (device, DType::F32))
        };
        Self { cos: tensor(&tables.cos), sin: tensor(&tables.sin), tables }
    }

    /// Cosines and sines of `len` positions in each row, from the row's start on, shaped to multiply
    /// `[rows, heads, len, head_dim / 2]`.
    pub fn windows(&self, starts: &[usize], len: usize) -> RotaryWindow<B> {
        let alike = starts.windows(2).all(|pair| pair[0] == pair[1]);
        let take = |table: &Tensor<B, 2>| {
            if alike {
                return table.clone().narrow(0, starts[0], len).unsqueeze::<4>();
            }
            let positions = starts.iter().flat_map(|start| (*start..start + len).map(|position| position as i32));
            let positions = TensorData::new(positions.collect::<Vec<_>>(), [starts.len() * len]);
            let rows = table.clone().select(0, Tensor::<B, 1, Int>::from_data(positions, &table.device()));
            rows.reshape([starts.len(), 1, len, table.dims()[1]])
        };
        RotaryWindow { cos: take(&self.cos), sin: take(&self.sin) }
    }
}

/// The part of the tables that one pass needs; the layers share it.
#[derive(Debug, Clone)]
pub struct RotaryWindow<B: Backend> {
    cos: Tensor<B, 4>,
    sin: Tensor<B, 4>,
}

impl<B: Backend> RotaryWindow<B> {
    /// # Shapes
    /// `[rows, heads, len, head_dim]` -> the same
    pub fn rotate(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let dtype = x.dtype();
        let half = x.dims()[3] / 2;
        let x = x.cast(DType::F32);
        let first = x.clone().narrow(3, 0, half);
        let second = x.narrow(3, half, half);
        let rotated = Tensor::cat(
            vec![
                first.clone() * self.cos.clone() - second.clone() * self.sin.clone(),
                second * self.cos.clone() + first * self.sin.clone(),
            ],
            3,
        );
        rotated.cast(dtype)
    }
}
