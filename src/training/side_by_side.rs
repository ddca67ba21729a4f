//! Several passes at once, for models so small that a single one leaves most cores waiting: each has a share of the
//! cores for itself. What comes out does not depend on their number.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::tensor::backend::Backend;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::kernels::is_fast;
use crate::model::Qwen2ForCausalLm;

/// Parameters up to which a pass of a few hundred tokens is too little work for several cores.
const SMALL_MODEL: usize = 30_000_000;

/// Passes computed at the same time for a model with so many parameters.
pub fn passes_at_once(parameters: usize) -> usize {
    if parameters <= SMALL_MODEL { pools().len().max(1) } else { 1 }
}

/// Whether a model's passes are better computed beside each other.
pub(super) fn suits<B: Backend>(model: &Qwen2ForCausalLm<B>) -> bool {
    let [vocab, hidden] = model.model.embed_tokens.dims();
    let linears = model.linears().map(|(_, _, linear)| linear.base.in_features() * linear.base.out_features());
    is_fast::<B>() && passes_at_once(vocab * hidden + linears.sum::<usize>()) > 1
}

/// So many items make it worth waking the workers; 1 where one after the other is better.
pub(super) fn items_at_once<B: Backend>(model: &Qwen2ForCausalLm<B>) -> usize {
    if suits(model) { 2 * pools().len() } else { 1 }
}

/// One thread each: nothing that runs in one waits for others.
fn pools() -> &'static [ThreadPool] {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    POOLS.get_or_init(|| {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build().ok();
        (0..rayon::current_num_threads()).map_while(pool).collect()
    })
}

/// The results of all items, in their order. Each worker has a copy of the model whose parameters are leaves of their own:
/// autodiff would let passes that share one wait for each other.
pub(super) fn map<B: Backend, T: Sync, R: Send>(
    model: &Qwen2ForCausalLm<B>,
    items: &[T],
    f: impl Fn(&Qwen2ForCausalLm<B>, &T) -> R + Sync,
) -> Vec<R> {
    let (next, device, f) = (AtomicUsize::new(0), model.device(), &f);
    let work = |model: Qwen2ForCausalLm<B>| {
        let numbers = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < items.len()));
        numbers.map(|number| (number, f(&model, &items[number]))).collect::<Vec<_>>()
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers = pools().iter().take(items.len()).map(|pool| {
            let (model, work) = (model.clone().fork(&device), &work);
            scope.spawn(move || pool.install(|| work(model)))
        });
        let workers: Vec<_> = workers.collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined.flat_map(|results| results.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
