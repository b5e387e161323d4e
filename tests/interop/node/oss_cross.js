// Reads what others wrote to OSS and writes for them, through ali-oss with V1 and with V4.
//
// Every object is `cross/{writer}/{name}/{SHA-256 of its bytes}`. Prints how many each one read.

'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const { Readable } = require('node:stream');
const OSS = require('ali-oss');

const at = JSON.parse(process.env.SANDBOX);
const LARGE = Buffer.concat(Array(1000).fill(Buffer.from([...Array(256).keys()])));
const BODIES = { plain: 'plain', 'späce & plus+%€': 'odd', empty: '', large: LARGE };
const PART = 100 * 1024;

const sum = bytes => crypto.createHash('sha256').update(bytes).digest('hex');

async function keys(store) {
  const found = [];
  let token;
  do {
    const page = await store.listV2({ prefix: 'cross/', 'max-keys': 7, 'continuation-token': token });
    found.push(...(page.objects ?? []).map(object => object.name));
    token = page.nextContinuationToken;
  } while (token);
  return found;
}

async function upload(store, key, body) {
  const { uploadId } = await store.initMultipartUpload(key);
  const parts = [];
  for (let start = 0; start < body.length; start += PART) {
    const content = body.subarray(start, start + PART);
    const data = { stream: Readable.from([content]), size: content.length };
    const done = await store._uploadPart(key, uploadId, parts.length + 1, data);
    parts.push({ number: parts.length + 1, etag: done.etag });
  }
  await store.completeMultipartUpload(key, uploadId, parts);
}

async function main() {
  const stores = [['ali-oss-v1', false], ['ali-oss-v4', true]].map(([name, authorizationV4]) => [name, new OSS({
    accessKeyId: at.access_key_id,
    accessKeySecret: at.access_key_secret,
    bucket: at.bucket,
    region: `oss-${at.region}`,
    endpoint: at.oss_endpoint,
    authorizationV4,
  })]);
  for (const [name, store] of stores) {
    const there = await keys(store);
    for (const key of there) {
      assert.equal(sum((await store.get(key)).content), key.split('/').at(-1), `${name} ${key}`);
    }
    console.log(`${name} read ${there.length}`);
  }
  for (const [name, store] of stores) {
    for (const [kind, text] of Object.entries(BODIES)) {
      const body = Buffer.from(text);
      const key = `cross/${name}/${kind}/${sum(body)}`;
      await (kind === 'large' ? upload(store, key, body) : store.put(key, body));
    }
  }
}

main().catch(error => {
  console.error(error);
  process.exit(1);
});
