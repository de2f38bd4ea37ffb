#include "cli/profile_starter.h"

static const char before[] =
    "// A profile of nono. Comments and trailing commas are fine.\n"
    "//   nono proxy --profile NAME            run the gateway with it\n"
    "//   nono profile validate NAME           find mistakes\n"
    "//   nono profile show --resolved NAME    see what it comes to\n"
    "//   nono why --profile NAME --url URL    ask about one request\n"
    "{\n"
    "  \"meta\": { \"name\": \"";

static const char after[] =
    "\", \"description\": \"\" },\n"
    "\n"
    "  // Profiles that this one builds on: names, or paths that begin with ./, ../ or /.\n"
    "  // \"extends\": [\"default\"],\n"
    "\n"
    "  \"network\": {\n"
    "    // Hosts that may be reached. Once one is listed, all others are denied.\n"
    "    // Forms: name, *.name (anything below it), address, CIDR block; each with a port or without.\n"
    "    \"allow_domain\": [\n"
    "      \"example.com\",\n"
    "      // \"*.example.com:443\",\n"
    "      // \"github\",                        // a built-in group of hosts\n"
    "\n"
    "      // Only some requests of a host. * stays inside one path segment, ** crosses segments.\n"
    "      // { \"domain\": \"docs.example.com\", \"endpoints\": [\n"
    "      //   { \"method\": \"GET\", \"path\": \"/manual/**\" },\n"
    "      // ] },\n"
    "    ],\n"
    "\n"
    "    // Hosts that may not be reached whatever else is said. \"private\" and \"loopback\" are groups of\n"
    "    // addresses.\n"
    "    \"deny_domain\": [\n"
    "      // \"ads.example.com\",\n"
    "    ],\n"
    "\n"
    "    // A ready-made set of hosts: minimal, developer, enterprise\n"
    "    // \"network_profile\": \"minimal\",\n"
    "\n"
    "    // With an empty allow_domain: deny everything instead of allowing everything.\n"
    "    // \"block\": true,\n"
    "\n"
    "    // Another proxy that everything goes through, and what is reached past it.\n"
    "    // \"upstream_proxy\": \"http://proxy.example.com:3128\",\n"
    "    // \"upstream_bypass\": [\"*.internal.example.com\"],\n"
    "\n"
    "    // Services that get a credential: built-in ones by name, or your own.\n"
    "    // \"credentials\": [\"github\", \"search\"],\n"
    "    // \"custom_credentials\": {\n"
    "    //   \"search\": {\n"
    "    //     \"upstream\": \"https://search.example.com/v1\",\n"
    "    //     \"credential_key\": \"env://SEARCH_KEY\",\n"
    "    //     \"inject_header\": \"X-Api-Key\",\n"
    "    //     \"endpoint_rules\": [{ \"method\": \"GET\", \"path\": \"/items/**\" }],\n"
    "    //   },\n"
    "    // },\n"
    "\n"
    "    // Time limits in seconds, as --timeout.\n"
    "    // \"timeouts\": { \"connect\": 10, \"response\": 120 },\n"
    "  },\n"
    "}\n";

void profile_starter(struct buf *out, struct str name)
{
    buf_add_z(out, before);
    buf_add_str(out, name);
    buf_add_z(out, after);
}
