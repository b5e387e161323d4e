// OSS through ali-oss, signed with V1 and with V4; with an address for an endpoint it names the bucket in `Host`.

'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const OSS = require('ali-oss');

const at = JSON.parse(process.env.SANDBOX);
const BODY = Buffer.concat(Array(1000).fill(Buffer.from([...Array(256).keys()])));
const PART = 100 * 1024;

function client(v4, secret = at.access_key_secret, id = at.access_key_id) {
  return new OSS({
    accessKeyId: id,
    accessKeySecret: secret,
    bucket: at.bucket,
    region: `oss-${at.region}`,
    endpoint: at.oss_endpoint,
    authorizationV4: v4,
  });
}

async function refused(call, code, status) {
  let found;
  try {
    await call();
  } catch (error) {
    found = error;
  }
  assert.ok(found, `it was not refused with ${code}`);
  assert.equal(found.code, code, `${found}`);
  if (status !== undefined) assert.equal(found.status, status);
  assert.ok(found.requestId, 'a refusal names its request');
}

const cases = {
  async an_object_comes_back_with_its_metadata(store, prefix) {
    for (const name of ['plain', 'späce & plus+%€', 'empty']) {
      const body = name === 'empty' ? Buffer.alloc(0) : BODY;
      await store.put(`${prefix}/${name}`, body, { meta: { origin: 'EWR' }, mime: 'text/x' });
      const got = await store.get(`${prefix}/${name}`);
      assert.deepEqual(Buffer.from(got.content), body);
      const head = await store.head(`${prefix}/${name}`);
      assert.deepEqual([head.meta, head.res.headers['content-type']], [{ origin: 'EWR' }, 'text/x']);
      assert.equal(head.res.headers['content-length'], `${body.length}`);
      const meta = await store.getObjectMeta(`${prefix}/${name}`);
      assert.equal(meta.res.headers.etag, head.res.headers.etag);
    }
    await refused(() => store.get(`${prefix}/nothing`), 'NoSuchKey', 404);
    await refused(() => store.head(`${prefix}/nothing`), 'NoSuchKey', 404);
  },

  async a_range_is_a_part_of_the_object_or_all_of_it(store, prefix) {
    await store.put(prefix, BODY);
    const range = async (wanted, standard) => {
      const headers = { Range: wanted, ...(standard && { 'x-oss-range-behavior': 'standard' }) };
      const got = await store.get(prefix, { headers });
      return [got.res.status, Buffer.from(got.content).length];
    };
    assert.deepEqual(await range('bytes=100-199'), [206, 100]);
    // Without the header a range that is too long is no range.
    assert.deepEqual(await range('bytes=255990-999999'), [200, BODY.length]);
    assert.deepEqual(await range('bytes=255990-999999', true), [206, 10]);
    await refused(() => range('bytes=256000-', true), 'InvalidRange', 416);
  },

  async a_list_has_pages_prefixes_and_a_delimiter(store, prefix) {
    const names = ['a', 'b/1', 'b/2', 'c/d/1', 'e', 'ü'].map(name => `${prefix}/${name}`);
    for (let number = 100; number < 140; number += 1) names.push(`${prefix}/many/${number}`);
    for (const name of [...names].reverse()) await store.put(name, Buffer.from('x'));
    const sorted = [...names].sort((one, two) => Buffer.compare(Buffer.from(one), Buffer.from(two)));
    const found = [];
    let token;
    do {
      const page = await store.listV2({ prefix: `${prefix}/`, 'max-keys': 20, 'continuation-token': token });
      found.push(...page.objects.map(object => object.name));
      token = page.nextContinuationToken;
    } while (token);
    assert.deepEqual(found, sorted);
    const level = await store.list({ prefix: `${prefix}/`, delimiter: '/', 'max-keys': 100 });
    assert.deepEqual(level.prefixes, ['b/', 'c/', 'many/'].map(name => `${prefix}/${name}`));
    assert.deepEqual(level.objects.map(object => object.name), ['a', 'e', 'ü'].map(name => `${prefix}/${name}`));
  },

  async copies_deletes_and_tags_do_what_they_say(store, prefix) {
    const [source, target] = [`${prefix}/sörce`, `${prefix}/target`];
    await store.put(source, BODY, { meta: { a: 'b' }, headers: { 'x-oss-tagging': 'one=1' } });
    await store.copy(target, source);
    const got = await store.get(target);
    assert.deepEqual([Buffer.from(got.content), got.res.headers['x-oss-meta-a']], [BODY, 'b']);
    assert.deepEqual((await store.getObjectTagging(target)).tag, { one: '1' });
    await store.delete(source);
    await store.delete(source);
    await refused(() => store.get(source), 'NoSuchKey');
    const names = [...Array(30).keys()].map(number => `${prefix}/ü & <${number}>`);
    for (const name of names) await store.put(name, Buffer.from('x'));
    await store.deleteMulti(names);
    const left = await store.listV2({ prefix: `${prefix}/`, 'max-keys': 100 });
    assert.deepEqual(left.objects.map(object => object.name), [target]);
  },

  async an_object_is_not_overwritten_when_that_is_forbidden(store, prefix) {
    const headers = { 'x-oss-forbid-overwrite': 'true' };
    await store.put(prefix, Buffer.from('first'), { headers });
    await refused(() => store.put(prefix, Buffer.from('second'), { headers }), 'FileAlreadyExists', 409);
    await refused(() => store.initMultipartUpload(prefix, { headers }), 'FileAlreadyExists', 409);
    assert.equal(`${(await store.get(prefix)).content}`, 'first');
  },

  async an_upload_is_listed_completed_and_aborted(store, prefix) {
    const key = `${prefix}/upload`;
    const { uploadId } = await store.initMultipartUpload(key, { headers: { 'x-oss-storage-class': 'IA' } });
    const parts = [];
    for (const [index, start] of [0, PART, 2 * PART].entries()) {
      const content = BODY.subarray(start, start + PART);
      const data = { stream: require('node:stream').Readable.from([content]), size: content.length };
      const done = await store._uploadPart(key, uploadId, index + 1, data);
      parts.push({ number: index + 1, etag: done.etag });
    }
    const listed = await store.listParts(key, uploadId, { 'max-parts': 100 });
    assert.deepEqual(listed.parts.map(part => part.PartNumber), ['1', '2', '3']);
    const uploads = await store.listUploads({ prefix, 'max-uploads': 100 });
    assert.deepEqual(uploads.uploads.map(upload => [upload.name, upload.uploadId]), [[key, uploadId]]);
    await store.completeMultipartUpload(key, uploadId, parts);
    const got = await store.get(key);
    assert.deepEqual(Buffer.from(got.content), BODY);
    assert.equal(got.res.headers['x-oss-storage-class'], 'IA');
    await refused(() => store.completeMultipartUpload(key, uploadId, parts), 'NoSuchUpload', 404);
    const other = await store.initMultipartUpload(key);
    const copied = await store.uploadPartCopy(key, other.uploadId, 1, '0-9', {
      sourceKey: key, sourceBucketName: at.bucket,
    });
    assert.equal(copied.etag.replaceAll('"', '').toLowerCase(),
      crypto.createHash('md5').update(BODY.subarray(0, 10)).digest('hex'));
    await store.abortMultipartUpload(key, other.uploadId);
    await refused(() => store.abortMultipartUpload(key, other.uploadId), 'NoSuchUpload', 404);
  },

  async an_object_grows_at_its_end(store, prefix) {
    const first = await store.append(prefix, Buffer.from('12345'));
    assert.equal(first.nextAppendPosition, '5');
    await store.append(prefix, Buffer.from('6789'), { position: 5 });
    await refused(() => store.append(prefix, Buffer.from('x'), { position: 5 }), 'PositionNotEqualToLength', 409);
    assert.equal(`${(await store.get(prefix)).content}`, '123456789');
  },

  async an_archived_object_is_restored_before_it_is_read(store, prefix) {
    await store.put(prefix, BODY, { headers: { 'x-oss-storage-class': 'Archive' } });
    await refused(() => store.get(prefix), 'InvalidObjectState', 403);
    assert.equal((await store.restore(prefix)).res.status, 202);
    assert.deepEqual(Buffer.from((await store.get(prefix)).content), BODY);
  },
};

async function what_is_not_signed_right_is_refused() {
  for (const v4 of [false, true]) {
    await refused(() => client(v4, 'wrong').get('k'), 'SignatureDoesNotMatch', 403);
    await refused(() => client(v4, at.access_key_secret, 'nobody').get('k'), 'InvalidAccessKeyId', 403);
  }
}

async function main() {
  const all = [['what_is_not_signed_right_is_refused', what_is_not_signed_right_is_refused]];
  for (const [name, run] of Object.entries(cases)) {
    for (const [version, v4] of [['v1', false], ['v4', true]]) {
      all.push([`${name} (${version})`, () => run(client(v4), `ali/${name}/${version}`)]);
    }
  }
  let failed = 0;
  for (const [name, run] of all) {
    try {
      await run();
      console.log(`ok     ${name}`);
    } catch (error) {
      failed += 1;
      console.log(error.stack);
      console.log(`FAILED ${name}`);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}

main();
