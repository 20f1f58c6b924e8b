//! The standard library that functions may count on.

use crate::driver::Program;
use serde_json::json;

/// To be imported, all in one program.
const MODULES: &str = "abc argparse array ast asyncio base64 binascii bisect bz2 calendar cmath codecs collections \
    concurrent.futures configparser contextlib contextvars copy csv ctypes dataclasses datetime decimal difflib email enum \
    fnmatch fractions functools gc glob graphlib gzip hashlib heapq hmac html html.parser http.client importlib \
    importlib.metadata inspect io ipaddress itertools json locale logging lzma marshal math mimetypes numbers operator os \
    pathlib pickle platform pprint queue random re secrets select selectors shlex shutil signal socket stat statistics \
    string struct subprocess sys tarfile tempfile textwrap threading time timeit tomllib traceback types typing unicodedata \
    unittest urllib.parse urllib.request uuid warnings weakref xml.etree.ElementTree zipfile zlib zoneinfo";

/// One use of each, and what it must give.
const USES: &[(&str, &str)] = &[
    ("json.dumps({'b': [1.5, None], 'a': 'é'}, sort_keys=True)", r#"{"a": "\u00e9", "b": [1.5, null]}"#),
    ("re.sub(r'(?P<y>\\d{4})-(\\d\\d)', r'\\2/\\g<y>', '2026-01')", "01/2026"),
    ("math.isclose(math.gamma(5), 24) and math.comb(5, 2)", "10"),
    ("random.Random(1).randint(1, 100)", "18"),
    ("datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone.utc).isoformat()", "2026-01-31T00:00:00+00:00"),
    ("datetime.datetime.strptime('31 Jan 2026', '%d %b %Y').date()", "2026-01-31"),
    ("time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(0))", "1970-01-01T00:00:00Z"),
    ("hashlib.sha256(b'x').hexdigest()[:8]", "2d711642"),
    ("hashlib.md5(b'x').hexdigest()[:8]", "9dd4e461"),
    ("hmac.new(b'k', b'm', 'sha256').hexdigest()[:8]", "b60090e3"),
    ("base64.urlsafe_b64encode(b'\\xff\\xfe').decode()", "__4="),
    ("uuid.uuid4().version, uuid.uuid1().version, uuid.uuid5(uuid.NAMESPACE_DNS, 'a').version", "(4, 1, 5)"),
    ("collections.Counter('abca').most_common(1)", "[('a', 2)]"),
    ("list(itertools.batched([1, 2, 3], 2))", "[(1, 2), (3,)]"),
    ("functools.reduce(operator.add, [1, 2, 3])", "6"),
    ("urllib.parse.urlencode({'a': 'b c', 'd': 'é'})", "a=b+c&d=%C3%A9"),
    ("dataclasses.asdict(dataclasses.make_dataclass('D', ['a'])(1))", "{'a': 1}"),
    ("enum.Enum('E', 'A B').B.value", "2"),
    ("decimal.Decimal('0.1') + decimal.Decimal('0.2')", "0.3"),
    ("fractions.Fraction(1, 3) + fractions.Fraction(1, 6)", "1/2"),
    ("string.Template('$a').substitute(a=1)", "1"),
    ("textwrap.shorten('one two three', 9)", "one [...]"),
    ("statistics.stdev([1, 2, 3, 4])", "1.2909944487358056"),
    ("list(csv.DictReader(io.StringIO('a,b\\n1,\"2,3\"')))", "[{'a': '1', 'b': '2,3'}]"),
    ("copy.deepcopy({'a': [1]})", "{'a': [1]}"),
    ("heapq.nsmallest(2, [3, 1, 2])", "[1, 2]"),
    ("bisect.insort_left(l := [1, 3], 2) or l", "[1, 2, 3]"),
    ("struct.unpack('<Hf', struct.pack('<Hf', 7, 1.5))", "(7, 1.5)"),
    ("gzip.decompress(gzip.compress(b'x' * 99)) == zlib.decompress(zlib.compress(b'x' * 99))", "True"),
    ("pathlib.Path('/a/b.tar.gz').suffixes", "['.tar', '.gz']"),
    ("len(secrets.token_urlsafe(32))", "43"),
    ("html.escape('<a>')", "&lt;a&gt;"),
    ("calendar.timegm((2026, 1, 31, 0, 0, 0))", "1769817600"),
    ("pickle.loads(pickle.dumps({'a': (1, b'x')}))", "{'a': (1, b'x')}"),
    ("asyncio.run(asyncio.sleep(0, 'slept'))", "slept"),
    ("ipaddress.ip_address('10.0.0.1').is_private", "True"),
    ("list(concurrent.futures.ThreadPoolExecutor(2).map(abs, [-1, -2]))", "[1, 2]"),
    ("[line for line in open(__file__)][0][:6]", "import"),
    ("unicodedata.normalize('NFD', 'é') == 'e\\u0301'", "True"),
];

#[test]
fn modules_can_be_imported_and_used() {
    let imports: String = MODULES.split_whitespace().map(|name| format!("import {name}\n")).collect();
    let mut program = Program::with_handler(&(imports + "def handler(event, context): return str(eval(event))"));
    for (expression, expected) in USES {
        assert_eq!(program.invoke(&json!(expression)).value(), json!(expected), "{expression}");
    }
}

#[test]
fn files_can_be_written_and_zipped() {
    let mut program = Program::with_handler(
        "import os, shutil, tempfile, zipfile\ndef handler(event, context):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'a.zip')
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive: archive.writestr('x/y.txt', 'content')
        shutil.unpack_archive(path, folder)
        with open(os.path.join(folder, 'x', 'y.txt')) as file: read = file.read()
    return [read, os.path.exists(folder)]",
    );
    assert_eq!(program.invoke(&json!({})).value(), json!(["content", false]));
}
