//! A runtime whose clock is wrong by the same amount all the time, and right otherwise.

use std::convert::Infallible;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use commonware_runtime::telemetry::metrics::{Metric, Registered};
use commonware_runtime::{
    BlobVersion, Clock, Error, Handle, Metrics, Name, Spawner, Storage, Supervisor, signal,
};
use rand_core::{TryCryptoRng, TryRng};

/// By how much a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skew {
    Ahead(Duration),
    Behind(Duration),
}

impl Skew {
    fn shown(self, time: SystemTime) -> SystemTime {
        match self {
            Self::Ahead(by) => time + by,
            Self::Behind(by) => time - by,
        }
    }

    fn true_time(self, shown: SystemTime) -> SystemTime {
        match self {
            Self::Ahead(by) => shown - by,
            Self::Behind(by) => shown + by,
        }
    }
}

/// A runtime with a wrong clock.
#[derive(Debug)]
pub(super) struct Skewed<E> {
    inner: E,
    skew: Skew,
}

impl<E> Skewed<E> {
    pub(super) fn new(inner: E, skew: Skew) -> Self {
        Self { inner, skew }
    }

    fn map(self, change: impl FnOnce(E) -> E) -> Self {
        Self {
            inner: change(self.inner),
            skew: self.skew,
        }
    }
}

impl<E: Clock> Clock for Skewed<E> {
    fn current(&self) -> SystemTime {
        self.skew.shown(self.inner.current())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep(duration)
    }

    fn sleep_until(
        &self,
        deadline: SystemTime,
    ) -> impl Future<Output = ()> + Send + 'static + use<E> {
        self.inner.sleep_until(self.skew.true_time(deadline))
    }
}

impl<E: Clock> governor::clock::Clock for Skewed<E> {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl<E: Clock> governor::clock::ReasonablyRealtime for Skewed<E> {}

impl<E: Supervisor> Supervisor for Skewed<E> {
    fn name(&self) -> Name {
        self.inner.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self::new(self.inner.child(label), self.skew)
    }

    fn with_attribute(self, key: &'static str, value: impl Display) -> Self {
        self.map(|inner| inner.with_attribute(key, value))
    }
}

impl<E: Spawner> Spawner for Skewed<E> {
    fn shared(self, blocking: bool) -> Self {
        self.map(|inner| inner.shared(blocking))
    }

    fn dedicated(self) -> Self {
        self.map(Spawner::dedicated)
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let skew = self.skew;
        self.inner.spawn(move |inner| f(Self::new(inner, skew)))
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.inner.stop(value, timeout).await
    }

    fn stopped(&self) -> signal::Signal {
        self.inner.stopped()
    }
}

impl<E: Metrics> Metrics for Skewed<E> {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(
        &self,
        name: N,
        help: H,
        metric: M,
    ) -> Registered<M> {
        self.inner.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.inner.encode()
    }
}

impl<E: Storage> Storage for Skewed<E> {
    type Blob = E::Blob;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(E::Blob, u64, BlobVersion), Error> {
        self.inner.open_versioned(partition, name, versions).await
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.inner.remove(partition, name).await
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.inner.scan(partition).await
    }
}

impl<E: TryRng<Error = Infallible>> TryRng for Skewed<E> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.inner.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.inner.try_next_u64()
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.inner.try_fill_bytes(to)
    }
}

impl<E: TryCryptoRng<Error = Infallible>> TryCryptoRng for Skewed<E> {}
