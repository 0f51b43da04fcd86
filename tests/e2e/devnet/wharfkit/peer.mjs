// A peer of a nodeos that shares no code with mainstay: it shakes hands, syncs, hands transactions over and makes blocks of its own.
//
//   node peer.mjs MODULES '{"peer":"HOST:PORT","chain":…,"genesis":…,"upTo":…,"secret":…,"transactions":[…],"producer":…}'
//
// Prints one JSON object: what it has got and what it has sent.
import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { connect } from 'node:net'

const modules = createRequire(`${process.argv[2]}/`)
const wharfkit = modules('@wharfkit/antelope')
const { Bytes, PackedTransaction, PrivateKey, PublicKey, Serializer, Signature, SignedTransaction, Transaction } = wharfkit
const { HandshakeMessage, SignedBlock, SyncRequestMessage } = wharfkit.P2P
const order = JSON.parse(process.argv[3])

const [host, port] = order.peer.split(':')
const socket = connect({ host, port: Number(port), noDelay: true })
const client = new wharfkit.P2PClient({ provider: new wharfkit.SimpleEnvelopeP2PProvider(socket) })

function fail(why) {
  console.error(`peer: ${why}`)
  process.exit(1)
}
socket.on('error', (why) => fail(why.message))
setTimeout(() => fail('not done in time'), order.limit).unref()

const zeros = '00'.repeat(32)
const blocks = new Map()
let greeting

// What it can't decode it isn't asked for: it has other notices and requests than real nodes.
client.on('error', () => {})
client.on('message', (message) => {
  const value = message.value
  if (value instanceof HandshakeMessage && !greeting) greeting = value
  if (value instanceof SignedBlock) blocks.set(Number(value.blockNum), value)
  if (greeting && blocks.size >= order.upTo - 1) finish()
})

socket.on('connect', () => {
  client.send(
    HandshakeMessage.from({
      networkVersion: 1205 + 7,
      chainId: order.chain,
      nodeId: randomBytes(32).toString('hex'),
      key: new PublicKey('K1', new Bytes(new Uint8Array(33))),
      time: `${Date.now()}000000`,
      token: zeros,
      sig: new Signature('K1', new Bytes(new Uint8Array(65))),
      p2pAddress: 'wharfkit:1 - 0000000',
      lastIrreversibleBlockNumber: 1,
      lastIrreversibleBlockId: order.genesis,
      headNum: 1,
      headId: order.genesis,
      os: 'linux',
      agent: 'wharfkit',
      generation: 1,
    }),
  )
  client.send(SyncRequestMessage.from({ startBlock: 2, endBlock: order.upTo }))
})

let finished = false
function finish() {
  if (finished) return
  finished = true
  for (const [index, transaction] of order.transactions.entries()) {
    const unsigned = Transaction.from({
      expiration: new Date(Date.now() + 60_000).toISOString().slice(0, 19),
      ref_block_num: greeting.lastIrreversibleBlockId.blockNum.toNumber() & 0xffff,
      ref_block_prefix: Buffer.from(greeting.lastIrreversibleBlockId.array).readUInt32LE(8),
      actions: [
        {
          account: 'eosio',
          name: 'newaccount',
          authorization: [{ actor: 'eosio', permission: 'active' }],
          data: transaction,
        },
      ],
    })
    const signature = PrivateKey.from(order.secret).signDigest(unsigned.signingDigest(order.chain))
    const signed = SignedTransaction.from({ ...unsigned, signatures: [signature] })
    client.send(PackedTransaction.fromSigned(signed, index % 2))
  }
  // Two blocks for one slot, on what the other side has told to be its head.
  const slot = Math.floor((Date.now() - 946_684_800_000) / 500)
  const made = [1, 2].map((seed) => {
    const root = createHash('sha256').update(`${seed}`).digest('hex')
    return SignedBlock.from({
      timeSlot: slot,
      producer: order.producer,
      confirmed: 0,
      previous: greeting.headId,
      transaction_mroot: zeros,
      action_mroot: root,
      schedule_version: 0,
      header_extensions: [],
      producer_signature: new Signature('K1', new Bytes(new Uint8Array(65).fill(31))),
      transactions: [],
      block_extensions: [],
    })
  })
  for (const block of made) client.send(block)
  const synced = [...blocks].sort(([one], [other]) => one - other)
  console.log(
    JSON.stringify({
      agent: greeting.agent,
      synced: synced.map(([number, block]) => ({ number, id: String(block.id), previous: String(block.previous) })),
      made: made.map((block) => String(block.id)),
    }),
  )
  // The connection stays: what was sent shall not be lost in its end.
}
