//! All vectors by file name. The test of the vectors includes this folder too.

use std::collections::BTreeMap;

use crate::{manifest::Manifest, objects, vaults};

pub(crate) fn vectors() -> BTreeMap<String, Vec<u8>> {
    let mut manifest = Manifest::default();
    objects::write(&mut manifest);
    vaults::write(&mut manifest);
    manifest.finish()
}
