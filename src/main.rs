use std::process::ExitCode;

fn main() -> ExitCode {
    qwen_lora::cli::main()
}
