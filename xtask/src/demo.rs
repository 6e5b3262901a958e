//! demo stub
use crate::failure::Failure;
/// x
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
impl Args {
    pub(crate) fn short() -> Self {
        Self {}
    }
}
pub(crate) fn run(_: &Args) -> Result<(), Failure> {
    Ok(())
}
