// Makes a secret API key and prints it: "medusa exec ./key.js".
const { createApiKeysWorkflow } = require("@medusajs/medusa/core-flows")

exports.default = async ({ container }) => {
  const { result } = await createApiKeysWorkflow(container).run({
    input: { api_keys: [{ title: "tests", type: "secret", created_by: "tests" }] },
  })
  console.log(`key: ${result[0].token}`)
}
