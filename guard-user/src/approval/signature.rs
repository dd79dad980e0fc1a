//! A detached SSH signature: from the file that `ssh-keygen -Y sign` writes to its parts (OpenSSH's
//! PROTOCOL.sshsig). Read by the byte: a file that can be read in two ways is refused.

use base64ct::{Base64, Encoding};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

pub use super::bounds::{RSA_BITS, SIGNATURE_BYTES};

use super::refusal::Refusal;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
const MAGIC: &[u8] = b"SSHSIG";
const VERSION: u32 = 1;
/// The flag of a security key's signature that says somebody touched it (PROTOCOL.u2f, "user presence").
const TOUCHED: u8 = 1;

/// A signature's parts, none of them verified.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// By which key it says to be; of a kind and strength that counts.
    pub key: PublicKey,
    /// What it says to be made for.
    pub namespace: String,
    hash: HashAlg,
    algorithm: Algorithm,
    data: Vec<u8>,
}

impl Parsed {
    /// Reads the file that `ssh-keygen -Y sign` wrote.
    ///
    /// # Errors
    /// Where it is anything but one signature of a kind that counts.
    pub fn read(file: &[u8]) -> Result<Self, Refusal> {
        let blob = dearmour(file)?;
        let mut reader = Reader(blob.as_slice());
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(malformed("it does not begin as SSH signatures do"));
        }
        if reader.number()? != VERSION {
            return Err(unsupported("signatures of this version", "the version is 1 (PROTOCOL.sshsig)"));
        }
        let key = key(reader.string()?).ok_or_else(|| malformed("its key can't be read"))?;
        let namespace = text(reader.string()?)?;
        if !reader.string()?.is_empty() {
            return Err(malformed("it says something in the field that is reserved"));
        }
        let hash = match reader.string()? {
            b"sha256" => HashAlg::Sha256,
            b"sha512" => HashAlg::Sha512,
            _ => return Err(unsupported("hashes of this kind", "sign with sha256 or sha512")),
        };
        let mut inner = Reader(reader.string()?);
        reader.end()?;
        let algorithm = algorithm(inner.string()?)?;
        let mut data = inner.string()?.to_vec();
        if matches!(algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256) {
            // Flags and a counter follow the signature itself (PROTOCOL.u2f, "Signature format").
            let trailer = inner.take(5)?;
            data.extend_from_slice(trailer);
            if trailer.first().is_none_or(|flags| flags & TOUCHED == 0) {
                return Err(Refusal::NotTouched);
            }
        }
        inner.end()?;
        check_key(key.key_data())?;
        Ok(Self { key, namespace, hash, algorithm, data })
    }

    /// Whether the key made it over these bytes.
    ///
    /// # Errors
    /// [`Refusal::Altered`] where not, or [`Refusal::Malformed`] where it can't be a signature at all.
    pub fn verify(&self, document: &[u8]) -> Result<(), Refusal> {
        let signature = ssh_key::Signature::new(self.algorithm.clone(), self.data.as_slice())
            .map_err(|_| malformed("its length is that of no signature"))?;
        let whole = SshSig::new(self.key.key_data().clone(), self.namespace.as_str(), self.hash, signature)
            .map_err(|_| malformed("it is made for nothing"))?;
        self.key.verify(&self.namespace, document, &whole).map_err(|_| Refusal::Altered)
    }
}

/// The key of its bytes on the wire, where there is one way alone to write it.
pub(super) fn key(blob: &[u8]) -> Option<PublicKey> {
    let key = PublicKey::from_bytes(blob).ok()?;
    (key.to_bytes().ok()? == blob).then_some(key)
}

/// Whether signatures of the key can be verified and count.
pub(super) fn check_key(key: &KeyData) -> Result<(), Refusal> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
            Ok(())
        }
        KeyData::Rsa(key) => {
            let modulus = key.n.as_positive_bytes().unwrap_or_default();
            let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
            let bits = (modulus.len() * 8).saturating_sub(unused);
            if RSA_BITS.contains(&bits) { Ok(()) } else { Err(Refusal::RsaBits { bits }) }
        }
        KeyData::Dsa(_) => {
            Err(unsupported("DSA keys", "they are broken; make one with ssh-keygen -t ed25519"))
        }
        _ => Err(unsupported("keys of this kind, and certificates,", "sign with a plain key")),
    }
}

fn algorithm(name: &[u8]) -> Result<Algorithm, Refusal> {
    if name == b"ssh-rsa" {
        return Err(unsupported("RSA signatures with SHA-1", "sign with OpenSSH 8.1 or later"));
    }
    let name = std::str::from_utf8(name).map_err(|_| malformed("it names no algorithm"))?;
    Algorithm::new(name).map_err(|_| malformed("it names no algorithm"))
}

/// The bytes between the two lines that armour them.
fn dearmour(file: &[u8]) -> Result<Vec<u8>, Refusal> {
    if file.len() > SIGNATURE_BYTES {
        return Err(Refusal::TooLong);
    }
    let text = std::str::from_utf8(file).map_err(|_| malformed("it is no text"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    // A second armour, or anything before or behind the one, is no Base64 or leaves the ends wrong.
    let [BEGIN, body @ .., END] = lines.as_slice() else {
        return Err(malformed("its first and last line are not those of an SSH signature"));
    };
    let base64 = body.concat();
    Base64::decode_vec(&base64).map_err(|_| malformed("it is not Base64"))
}

/// Reads the data types of SSH (RFC 4251 section 5).
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], Refusal> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| malformed("it is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Refusal> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn string(&mut self) -> Result<&'b [u8], Refusal> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| malformed("it is cut off"))?)
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("something stands behind its last field")) }
    }
}

fn text(bytes: &[u8]) -> Result<String, Refusal> {
    String::from_utf8(bytes.to_vec()).map_err(|_| malformed("its namespace is no text"))
}

const fn malformed(reason: &'static str) -> Refusal {
    Refusal::Malformed { reason }
}

const fn unsupported(what: &'static str, why: &'static str) -> Refusal {
    Refusal::Unsupported { what, why }
}
