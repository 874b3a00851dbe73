//! Entry point of the page's wasm.

fn main() {
    web_viz::run();
}
