// The smallest configuration with which Medusa starts: no pages, the loyalty plugin, a PostgreSQL behind a socket file.
const { defineConfig } = require("@medusajs/framework/utils")

module.exports = defineConfig({
  projectConfig: {
    databaseUrl: process.env.DATABASE_URL,
    databaseDriverOptions: { connection: { ssl: false } },
    http: { storeCors: "", adminCors: "", authCors: "", jwtSecret: "tests", cookieSecret: "tests" },
  },
  admin: { disable: true },
  plugins: [{ resolve: "@medusajs/loyalty-plugin", options: {} }],
})
