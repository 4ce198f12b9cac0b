#!/bin/sh
# The software of this system as SPDX 2.3 JSON, from dpkg's list. Needs nothing but
# dpkg and the shell: it runs while the image is built.
#
#   sbom.sh ["NAME VERSION ARCHITECTURE SOURCE"...]   with what dpkg does not know of
set -eu

list="$(dpkg-query -W -f='${Package} ${Version} ${Architecture} ${source:Package}\n'
  for other in "$@"; do printf '%s\n' "$other"; done)"
others="$(for other in "$@"; do printf ' %s' "${other%% *}"; done) "
digest="$(printf '%s' "$list" | sha256sum | cut -d' ' -f1)"
created="$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ)"

cat <<HEAD
{
  "spdxVersion": "SPDX-2.3",
  "dataLicense": "CC0-1.0",
  "SPDXID": "SPDXRef-DOCUMENT",
  "name": "inferd-image",
  "documentNamespace": "urn:inferd:image:sha256:$digest",
  "creationInfo": {"created": "$created", "creators": ["Tool: inferd-sbom.sh"]},
  "packages": [
HEAD
# A version may hold ':' and '+', which a package URL writes in hexadecimal.
printf '%s\n' "$list" | awk -v others="inferd$others" '{
  id = $1 "-" $3; gsub(/[^A-Za-z0-9.-]/, "-", id)
  version = $2; gsub(/%/, "%25", version); gsub(/:/, "%3A", version); gsub(/\+/, "%2B", version)
  name = $1; gsub(/\+/, "%2B", name)
  origin = (index(others, $1 " ") == 1 || index(others, " " $1 " ") ? "generic" : "deb/debian")
  printf "%s    {\"SPDXID\": \"SPDXRef-Package-%s\", \"name\": \"%s\", \"versionInfo\": \"%s\", ", \
    (NR > 1 ? ",\n" : ""), id, $1, $2
  printf "\"sourceInfo\": \"built from %s\", \"downloadLocation\": \"NOASSERTION\", ", $4
  printf "\"filesAnalyzed\": false, \"licenseConcluded\": \"NOASSERTION\", "
  printf "\"licenseDeclared\": \"NOASSERTION\", \"copyrightText\": \"NOASSERTION\", "
  printf "\"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\", "
  printf "\"referenceLocator\": \"pkg:%s/%s@%s?arch=%s\"}]}", origin, name, version, $3
}
END { print "\n  ]," }'
printf '  "relationships": [\n'
printf '%s\n' "$list" | awk '{
  id = $1 "-" $3; gsub(/[^A-Za-z0-9.-]/, "-", id)
  printf "%s    {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\", ", (NR > 1 ? ",\n" : "")
  printf "\"relatedSpdxElement\": \"SPDXRef-Package-%s\"}", id
}
END { print "\n  ]" }'
printf '}\n'
